package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// fleet is many WebSocket clients in one epoll loop, so that they cost little
// beside the server that is measured. It answers pings.
type fleet struct {
	epfd    int
	fds     []int
	frames  atomic.Int64 // data frames received
	pings   atomic.Int64
	bytes   atomic.Int64
	lost    atomic.Int64 // connections that the server ended
	onFrame func(payload []byte)
	done    sync.WaitGroup
	stopped atomic.Bool
}

func newFleet(onFrame func([]byte)) (*fleet, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := &fleet{epfd: epfd, onFrame: onFrame}
	f.done.Go(f.run)
	return f, nil
}

// dial adds n connections, at most 64 handshakes at once. query is added to the
// path of connection i.
func (f *fleet) dial(addr string, n int, header func(i int) string) error {
	fds := make([]int, n)
	errs := make(chan error, 64)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				fd, early, err := handshake(addr, header(i))
				if err != nil {
					select {
					case errs <- fmt.Errorf("connection %d: %w", i, err):
					default:
					}
					return
				}
				fds[i] = fd
				f.take(fd, early)
				ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
				_ = unix.EpollCtl(f.epfd, unix.EPOLL_CTL_ADD, fd, &ev)
			}
		})
	}
	wg.Wait()
	f.fds = append(f.fds, fds...)
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// handshake returns the descriptor of a connection that was let in, and the bytes
// that came right after the 101.
func handshake(addr, header string) (fd int, early []byte, err error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", header); err != nil {
		return 0, nil, err
	}
	r := bufio.NewReaderSize(conn, 512)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return 0, nil, errors.New(resp.Status)
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, nil, err
	}
	early, _ = r.Peek(r.Buffered())
	var dupErr error
	err = raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, early, errors.Join(err, dupErr)
}

func (f *fleet) run() {
	events := make([]unix.EpollEvent, 512)
	buf := make([]byte, 256<<10)
	rest := map[int][]byte{}
	for !f.stopped.Load() {
		n, _ := unix.EpollWait(f.epfd, events, 100)
		for i := range max(n, 0) {
			f.read(int(events[i].Fd), buf, rest)
		}
	}
}

func (f *fleet) read(fd int, buf []byte, rest map[int][]byte) {
	n, err := unix.Read(fd, buf)
	if n <= 0 {
		if err != unix.EAGAIN && err != unix.EINTR {
			f.lost.Add(1)
			_ = unix.EpollCtl(f.epfd, unix.EPOLL_CTL_DEL, fd, nil)
		}
		return
	}
	f.bytes.Add(int64(n))
	b := buf[:n]
	if r := rest[fd]; r != nil {
		b = append(r, b...)
		delete(rest, fd)
	}
	if b = f.take(fd, b); len(b) > 0 {
		rest[fd] = append([]byte(nil), b...)
	}
}

// take counts the frames in b, answers pings, and returns what is left.
func (f *fleet) take(fd int, b []byte) []byte {
	for {
		op, payload, size := frame(b)
		if size == 0 {
			return b
		}
		switch op {
		case 1, 2:
			f.frames.Add(1)
			if f.onFrame != nil {
				f.onFrame(payload)
			}
		case 9:
			f.pings.Add(1)
			_, _ = unix.Write(fd, []byte{0x8a, 0x80, 0, 0, 0, 0})
		}
		b = b[size:]
	}
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

func (f *fleet) close() {
	f.stopped.Store(true)
	f.done.Wait()
	for _, fd := range f.fds {
		_ = unix.Close(fd)
	}
	_ = unix.Close(f.epfd)
}

// awaitFrames returns when the fleet has read n data frames since it had before.
func (f *fleet) awaitFrames(before, n int64) error {
	if err := wait(func() bool { return f.frames.Load()-before >= n }); err != nil {
		return fmt.Errorf("%d of %d frames, %d connections were closed: %w", f.frames.Load()-before, n, f.lost.Load(), err)
	}
	if got := f.frames.Load() - before; got != n {
		return fmt.Errorf("%d frames, want %d", got, n)
	}
	return nil
}

// wait returns when cond holds; it gives up after a minute.
func wait(cond func() bool) error {
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("not reached within a minute")
		}
	}
	return nil
}
