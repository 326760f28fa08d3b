package access

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// unheard is a connection whose server may refuse it before it answers any command. What it
// says then, or that it says nothing, becomes the error; go-redis would take it for an
// answer, or see a broken pipe.
type unheard struct {
	net.Conn
	explain func(error) error // of what ended it without a word

	heard atomic.Bool
	why   atomic.Pointer[error] // it was refused; go-redis reads on
}

// lastWords is how long it is waited for what a server said that took no command.
const lastWords = 100 * time.Millisecond

// unheardSocket is one without TLS. go-redis looks at its socket before it uses it again:
// what would be sent on one that ended is sent on another, and not left in doubt.
type unheardSocket struct{ unheard }

// SyscallConn implements syscall.Conn.
func (c *unheardSocket) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

func (c *unheard) Read(p []byte) (int, error) {
	if why := c.why.Load(); why != nil {
		return 0, *why
	}
	n, err := c.Conn.Read(p)
	if c.heard.Load() {
		return n, err
	}
	err = c.first(p[:n], err)
	if c.why.Load() != nil {
		n = 0
	}
	return n, err
}

func (c *unheard) Write(p []byte) (int, error) {
	if why := c.why.Load(); why != nil {
		return 0, *why
	}
	n, err := c.Conn.Write(p)
	if err == nil || c.heard.Load() || errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	_ = c.SetReadDeadline(time.Now().Add(lastWords))
	said := make([]byte, 512)
	k, readErr := c.Conn.Read(said)
	if k == 0 && readErr != nil && !errors.Is(readErr, os.ErrDeadlineExceeded) {
		err = readErr // of TLS: what the server said
	}
	if why := c.first(said[:k], err); why != nil {
		err = why
	}
	return n, err
}

// first judges the first that is read, or that nothing was.
func (c *unheard) first(said []byte, err error) error {
	switch {
	case len(said) > 0:
		why := refusal(c.RemoteAddr().String(), said)
		if why == nil {
			c.heard.Store(true)
			return err
		}
		err = why
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
		return err
	default:
		err = c.explain(err)
	}
	err = fmt.Errorf("%w", err) // go-redis takes one layer off
	c.why.Store(&err)
	return err
}

// refusal is what a server says to a connection rather than to a command; nil: it is not
// that.
func refusal(server string, said []byte) error {
	line, _, _ := bytes.Cut(said, []byte("\r\n"))
	switch {
	case bytes.HasPrefix(said, []byte("-DENIED")):
		return NewFault("redis.password", nil, "redis at %s is in protected mode, and refuses connections from other machines until its users have passwords", server)
	case bytes.HasPrefix(said, []byte("-ERR max number of clients")):
		return errors.New("redis at " + server + ": " + string(line[1:]))
	case isTLSAlert(said):
		return speaksTLS(server)
	case bytes.HasPrefix(said, []byte("HTTP/")):
		return NewFault("redis.addresses", nil, "%s is a web server, not redis", server)
	}
	return nil
}
