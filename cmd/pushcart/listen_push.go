package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/pushcart/pushcart/config"
)

// listenPush opens host:port or unix:/path. A socket file that nobody listens on
// is what a killed process left behind.
func listenPush(cfg config.Push) (net.Listener, error) {
	path, ok := strings.CutPrefix(cfg.Listen, "unix:")
	if !ok {
		return net.Listen("tcp", cfg.Listen)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("%s: %w", path, syscall.EADDRINUSE)
	}
	if st, err := os.Stat(path); err == nil && st.Mode()&os.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	ln, err := closedUnix.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := openSocket(cfg, path); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// closedUnix makes a socket that is its owner's alone until openSocket lets others
// in. Linux takes the mode of the unbound socket for the file; where that is not
// so, the umask holds until then.
var closedUnix = net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o600) })
}}

// openSocket gives the socket the group and the permissions of the configuration.
func openSocket(cfg config.Push, path string) error {
	group, err := cfg.Group()
	if err != nil {
		return fmt.Errorf("socket_group: %w", err)
	}
	if group >= 0 {
		if err := os.Chown(path, -1, group); err != nil {
			return fmt.Errorf("socket_group: %w", err)
		}
	}
	mode, err := cfg.Mode()
	if err != nil {
		return fmt.Errorf("socket_mode: %w", err)
	}
	return os.Chmod(path, mode)
}
