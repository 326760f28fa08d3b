//go:build !linux || race

package sockio

import "syscall"

// Read is unix.Read. EINTR is never returned.
func Read(fd int, p []byte) (n int, err error) {
	for n, err = syscall.Read(fd, p); err == syscall.EINTR; {
		n, err = syscall.Read(fd, p)
	}
	return n, err
}

// Write is unix.Write. EINTR is never returned.
func Write(fd int, p []byte) (n int, err error) {
	for n, err = syscall.Write(fd, p); err == syscall.EINTR; {
		n, err = syscall.Write(fd, p)
	}
	return n, err
}

// Peek reads without taking, and never waits.
func Peek(fd int, p []byte) (n int, err error) {
	for n, _, err = syscall.Recvfrom(fd, p, syscall.MSG_PEEK|syscall.MSG_DONTWAIT); err == syscall.EINTR; {
		n, _, err = syscall.Recvfrom(fd, p, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	}
	return n, err
}
