//go:build linux && !race

package sockio

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Read is unix.Read. EINTR is never returned.
func Read(fd int, p []byte) (int, error) { return call(unix.SYS_READ, fd, p, 0) }

// Write is unix.Write. EINTR is never returned.
func Write(fd int, p []byte) (int, error) { return call(unix.SYS_WRITE, fd, p, 0) }

// Peek reads without taking, and never waits.
func Peek(fd int, p []byte) (int, error) {
	return call(unix.SYS_RECVFROM, fd, p, unix.MSG_PEEK|unix.MSG_DONTWAIT)
}

// call is one system call on fd. Read and write ignore flags.
func call(number uintptr, fd int, p []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(number, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return -1, errno
		}
	}
}
