package proxy

import "golang.org/x/sys/unix"

const pollHangup = unix.POLLRDHUP
