//go:build !linux

package proxy

import (
	"net"

	"golang.org/x/sys/unix"
)

const pollHangup = unix.POLLHUP

// boundUnsent does nothing: elsewhere the kernel's own bounds hold.
func boundUnsent(net.Conn) {}
