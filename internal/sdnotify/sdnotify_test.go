package sdnotify

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestSocket_TellsTheManager(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	m, s := manager(t, name), New(name)
	f := func(err error, want string) {
		t.Helper()
		b := make([]byte, 1024)
		n, readErr := m.Read(b)
		if err != nil || readErr != nil || string(b[:n]) != want {
			t.Errorf("%v, %v: got %q, want %q", err, readErr, b[:n], want)
		}
	}
	f(s.Ready(), "READY=1")
	f(s.Stopping(25*time.Second), "STOPPING=1\nEXTEND_TIMEOUT_USEC=25000000")
}

func TestSocket_SaysThatTheManagerIsNotThere(t *testing.T) {
	if err := New(filepath.Join(t.TempDir(), "none")).Ready(); err == nil || !strings.Contains(err.Error(), "NOTIFY_SOCKET") {
		t.Errorf("got %v", err)
	}
}

func TestSocket_WithoutAManagerTellsNobody(t *testing.T) {
	if err := New("").Ready(); err != nil {
		t.Error(err)
	}
	if err := New("").Stopping(time.Second); err != nil {
		t.Error(err)
	}
}
