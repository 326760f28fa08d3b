package takeover_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushcart/pushcart/internal/epoll"
	"github.com/pushcart/pushcart/internal/takeover"
	"github.com/pushcart/pushcart/internal/testkit"
)

// taken returns a connection whose descriptor was taken, and its peer.
func taken(t *testing.T) (c *takeover.Conn, fd int, peer *net.TCPConn) {
	t.Helper()
	ln := testkit.Listen(t)
	defer ln.Close()
	dialed, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dialed.Close() })
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c = takeover.Wrap(conn)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if fd, err = epoll.Duplicate(raw); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	_ = conn.Close()
	c.Take(fd)
	return c, fd, dialed.(*net.TCPConn)
}

func TestConn_ReadNeverWaits(t *testing.T) {
	c, fd, peer := taken(t)
	if _, err := c.Read(make([]byte, 8)); !errors.Is(err, takeover.ErrAgain) {
		t.Fatalf("got %v, want ErrAgain", err)
	}
	if _, err := peer.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	await(t, fd)
	got := make([]byte, 8)
	if n, err := c.Read(got); err != nil || string(got[:n]) != "hello" {
		t.Fatalf("got %q, %v", got[:n], err)
	}
	_ = peer.Close()
	await(t, fd)
	if _, err := c.Read(got); err != io.EOF {
		t.Fatalf("got %v, want io.EOF", err)
	}
}

// fill writes records until the socket takes no more, and returns what was sent.
func fill(t *testing.T, c *takeover.Conn) (sent []byte) {
	t.Helper()
	record := bytes.Repeat([]byte("0123456789abcdef"), 1<<10)
	for c.Pending() == 0 {
		if n, err := c.Write(record); n != len(record) || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
		sent = append(sent, record...)
	}
	return sent
}

func TestConn_WriteNeverWaitsAndFlushSendsTheRest(t *testing.T) {
	c, _, peer := taken(t)
	sent := fill(t, c)
	if _, err := c.Write([]byte("end")); err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte)
	go func() {
		b := make([]byte, len(sent)+3)
		_, _ = io.ReadFull(peer, b)
		got <- b
	}()
	for end := time.Now().Add(20 * time.Second); ; {
		kept, err := c.Flush()
		if err != nil {
			t.Fatal(err)
		}
		if kept == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes are still kept", kept)
		}
	}
	if b := <-got; !bytes.Equal(b, append(sent, "end"...)) {
		t.Error("the peer got other bytes")
	}
}

func TestConn_WriteRefusesWhatIsMoreThanTheBound(t *testing.T) {
	c, _, _ := taken(t)
	fill(t, c)
	record := make([]byte, 1<<10)
	for range takeover.MaxPending / len(record) {
		_, err := c.Write(record)
		if n := c.Pending(); n > takeover.MaxPending {
			t.Fatalf("%d bytes wait, the bound is %d", n, takeover.MaxPending)
		}
		if c.Full() != errors.Is(err, takeover.ErrFull) {
			t.Fatalf("full is %v after %v", c.Full(), err)
		}
	}
	if !c.Full() {
		t.Errorf("%d bytes wait, and no write was refused", c.Pending())
	}
}

func TestConn_BeforeTakeIsTheConnection(t *testing.T) {
	a, b := net.Pipe()
	c := takeover.Wrap(a)
	go func() { _, _ = b.Write([]byte("x")) }()
	if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	_ = c.SetReadDeadline(time.Unix(1, 0))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the deadline was not passed on")
	}
	if _, err := c.SyscallConn(); err == nil {
		t.Error("a pipe has no descriptor")
	}
}

// await returns when fd is readable.
func await(t *testing.T, fd int) {
	t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20_000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 || err != nil {
			t.Fatalf("poll: %d, %v", n, err)
		}
		return
	}
}
