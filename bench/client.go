package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushcart/pushcart/internal/epoll"
)

// handshake returns the descriptor of a connection that was let in, and the bytes
// that came right after the 101. receive is set before the kernel offers a window.
func handshake(addr, header string, receive int) (fd int, early []byte, err error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	if receive > 0 {
		d.Control = func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receive) })
		}
	}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close()
	r, err := upgrade(conn, header)
	if err != nil {
		return 0, nil, err
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, nil, err
	}
	early, _ = r.Peek(r.Buffered())
	fd, err = epoll.Duplicate(raw)
	return fd, early, err
}

const extensions = "Sec-WebSocket-Extensions"

// upgrade asks for a WebSocket on conn; what comes after the 101 is in r.
func upgrade(conn net.Conn, header string) (r *bufio.Reader, err error) {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprintf(conn, "GET /_push HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", header); err != nil {
		return nil, err
	}
	r = bufio.NewReaderSize(conn, 512)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, errors.New(resp.Status)
	}
	if strings.Contains(header, extensions) && resp.Header.Get(extensions) == "" {
		return nil, errors.New("the extension was not agreed on")
	}
	return r, conn.SetDeadline(time.Time{})
}

// frame reads a server's frame from the start of b; size 0: more is needed.
func frame(b []byte) (op byte, payload []byte, size int) {
	if len(b) < 2 {
		return 0, nil, 0
	}
	n, head := int(b[1]), 2
	switch n {
	case 126:
		if len(b) < 4 {
			return 0, nil, 0
		}
		n, head = int(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		if len(b) < 10 {
			return 0, nil, 0
		}
		n, head = int(binary.BigEndian.Uint64(b[2:])), 10
	}
	if len(b) < head+n {
		return 0, nil, 0
	}
	return b[0] & 15, b[head : head+n], head + n
}
