//go:build !linux

package ws

import (
	"net"
	"sync"
)

// engine owns the loop that all connections belong to.
type engine struct {
	goLoop  *goLoop
	running sync.WaitGroup
}

func newEngine() (*engine, error) {
	e := &engine{goLoop: newGoLoop()}
	e.running.Go(e.goLoop.run)
	return e, nil
}

// attach gives c a socket over conn. On error conn is closed.
func (e *engine) attach(c *Conn, conn net.Conn, _ uint64) error {
	c.loop, c.sock = e.goLoop.loop, newGoSocket(c, e.goLoop, conn)
	return nil
}

func (e *engine) loops() []*loop { return []*loop{e.goLoop.loop} }
