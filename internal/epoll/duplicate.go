package epoll

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// Duplicate returns a second descriptor of a connection, which Go's netpoller does
// not know. It is non-blocking, as the first is. Both are for the caller to close.
func Duplicate(conn syscall.RawConn) (fd int, err error) {
	fd, dupErr := -1, error(nil)
	err = conn.Control(func(old uintptr) {
		fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	return fd, errors.Join(err, dupErr)
}
