//go:build !unix

package httpclient

import "net"

// liveness cannot look into a socket here.
type liveness struct{}

func newLiveness(net.Conn) *liveness { return &liveness{} }

func (l *liveness) check() (alive, silent bool) { return true, true }
