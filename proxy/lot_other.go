//go:build !linux

package proxy

import "net"

const canPark = false

// lot parks nothing: a connection that waits keeps its goroutine.
type lot struct{}

func newLot(func(net.Conn), func()) (*lot, error) { return &lot{}, nil }

func (l *lot) park(*source, int64) bool { return false }

func (l *lot) expire(int64) {}

func (l *lot) close() {}
