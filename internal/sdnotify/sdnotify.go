package sdnotify

import (
	"fmt"
	"net"
	"time"
)

// Socket is the service manager's; a nil Socket has nobody to tell.
type Socket struct{ address string }

// New returns the socket that the manager named in NOTIFY_SOCKET; nil if address is
// empty.
func New(address string) *Socket {
	if address == "" {
		return nil
	}
	return &Socket{address: address}
}

// Ready says that the process serves.
func (s *Socket) Ready() error { return s.send("READY=1") }

// Stopping says that the process ends, and that the manager shall not kill it before
// the time is over, whatever TimeoutStopSec is.
func (s *Socket) Stopping(within time.Duration) error {
	return s.send(fmt.Sprintf("STOPPING=1\nEXTEND_TIMEOUT_USEC=%d", within.Microseconds()))
}

func (s *Socket) send(state string) error {
	if s == nil {
		return nil
	}
	// A name that begins with @ is in Linux's abstract namespace, for net as for systemd.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.address, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager (NOTIFY_SOCKET): %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell the service manager (NOTIFY_SOCKET): %w", err)
	}
	return nil
}
