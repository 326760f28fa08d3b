package sockio_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/sockio"
	"github.com/pushcart/pushcart/internal/testkit"
)

// connected are two ends of a TCP connection, both wrapped.
func connected(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln := testkit.Listen(t)
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = sockio.Listener{Listener: ln}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a = sockio.Wrap(dialled)
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

func TestConn_MovesMoreThanSocketsHold(t *testing.T) {
	a, b := connected(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	for _, way := range []struct{ from, to net.Conn }{{a, b}, {b, a}} {
		done := make(chan error, 1)
		go func() {
			n, err := way.from.Write(sent)
			if n != len(sent) {
				err = errors.Join(err, io.ErrShortWrite)
			}
			done <- err
		}()
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("read: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("write: %v", err)
		}
	}
}

func TestConn_EndsLikeTheOneItWraps(t *testing.T) {
	a, b := connected(t)
	if err := a.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Read(make([]byte, 8)); n != 0 || err != io.EOF {
		t.Errorf("after the peer's FIN: %d, %v", n, err)
	}
	if n, err := b.Read(nil); n != 0 || err != nil {
		t.Errorf("read of nothing: %d, %v", n, err)
	}
	_ = a.SetReadDeadline(time.Unix(1, 0))
	if _, err := a.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past its deadline: %v", err)
	}
	var timeout net.Error
	_ = a.SetWriteDeadline(time.Unix(1, 0))
	if _, err := a.Write([]byte("x")); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("write past its deadline: %v", err)
	}
	_ = b.Close()
	if _, err := b.Read(make([]byte, 8)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
}

func TestConn_ResetIsAnError(t *testing.T) {
	a, b := connected(t)
	raw := a.(*sockio.Conn).Conn.(*net.TCPConn)
	_ = raw.SetLinger(0)
	_ = raw.Close()
	if _, err := b.Read(make([]byte, 8)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
}

func TestWrap_LeavesAloneWhatHasNoDescriptor(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	defer a.Close()
	if got := sockio.Wrap(a); got != a {
		t.Errorf("got %T", got)
	}
}
