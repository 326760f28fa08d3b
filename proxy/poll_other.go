//go:build !linux

package proxy

import "golang.org/x/sys/unix"

const pollHangup = unix.POLLHUP
