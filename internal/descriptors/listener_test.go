package descriptors

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// failing is a listener that errs with one after the other of errs, and then waits
// for its end.
type failing struct {
	net.Listener
	errs   []error
	closed chan struct{}
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		<-f.closed
		return nil, net.ErrClosed
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	if err == nil {
		a, b := net.Pipe()
		_ = b.Close()
		return a, nil
	}
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
}

func (f *failing) Close() error { close(f.closed); return nil }

func TestListener_OutlastsWhatPassesWithOneLine(t *testing.T) {
	var errs []error
	for _, err := range passing {
		errs = append(errs, err, nil)
	}
	var out bytes.Buffer
	l := Outlast(&failing{errs: errs, closed: make(chan struct{})}, "push.listen", slog.New(slog.NewTextHandler(&out, nil)))
	l.pause, l.failed = shortestPause/1000, time.Now() // as after failures that are over
	for range passing {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), "listener=push.listen") {
		t.Errorf("%d lines:\n%s", n, &out)
	}
}

func TestListener_PauseGrowsAcrossSuccessesAndIsShortAgainAfterACalm(t *testing.T) {
	l := Outlast(&failing{}, "listen", slog.New(slog.DiscardHandler))
	now := time.Unix(1e9, 0)
	last := time.Duration(0)
	for range 20 {
		p := l.nextPause(now)
		if p < last || p > longestPause {
			t.Errorf("%v after %v", p, last)
		}
		last = p
		now = now.Add(p + time.Millisecond)
	}
	if last != longestPause {
		t.Errorf("the pause is %v in the end", last)
	}
	if p := l.nextPause(now.Add(calm + time.Second)); p != shortestPause {
		t.Errorf("after a calm it is %v", p)
	}
}

func TestListener_ErrsWhenItIsClosedOrBroken(t *testing.T) {
	l := Outlast(&failing{errs: []error{syscall.EMFILE}, closed: make(chan struct{})}, "listen", slog.New(slog.DiscardHandler))
	l.pause, l.failed = time.Hour, time.Now()
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	_ = l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	l = Outlast(&failing{errs: []error{syscall.EBADF}}, "listen", slog.New(slog.DiscardHandler))
	if _, err := l.Accept(); !errors.Is(err, syscall.EBADF) {
		t.Errorf("broken: %v", err)
	}
}
