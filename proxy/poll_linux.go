package proxy

import (
	"net"

	"golang.org/x/sys/unix"
)

const pollHangup = unix.POLLRDHUP

// boundUnsent bounds what the kernel holds of a stream that its reader does not
// take. What is on its way, and so the throughput of long lines, is not bounded.
func boundUnsent(conn net.Conn) {
	if raw := rawConn(conn); raw != nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes)
		})
	}
}

const unsentBytes = 512 << 10
