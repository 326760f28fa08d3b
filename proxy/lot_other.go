//go:build !linux

package proxy

const canPark = false

// lot parks nothing: a connection that waits keeps its goroutine.
type lot struct{}

func newLot() (*lot, error) { return &lot{}, nil }

func (l *lot) close() {}

func (l *lot) park(*clientConn, int) bool { return false }

func (l *lot) unpark(*clientConn) {}
