//go:build !linux || race

package sockio

import "golang.org/x/sys/unix"

// Read is unix.Read. EINTR is never returned.
func Read(fd int, p []byte) (n int, err error) {
	for n, err = unix.Read(fd, p); err == unix.EINTR; {
		n, err = unix.Read(fd, p)
	}
	return n, err
}

// Write is unix.Write. EINTR is never returned.
func Write(fd int, p []byte) (n int, err error) {
	for n, err = unix.Write(fd, p); err == unix.EINTR; {
		n, err = unix.Write(fd, p)
	}
	return n, err
}

// Peek reads without taking, and never waits.
func Peek(fd int, p []byte) (n int, err error) {
	for n, _, err = unix.Recvfrom(fd, p, unix.MSG_PEEK|unix.MSG_DONTWAIT); err == unix.EINTR; {
		n, _, err = unix.Recvfrom(fd, p, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	}
	return n, err
}
