package ws

import (
	"fmt"
	"net"
	"runtime"
	"sync"
)

// engine owns the loops and says which one a new connection belongs to.
type engine struct {
	pollers []*poller
	goLoop  *goLoop
	running sync.WaitGroup
}

func newEngine() (*engine, error) {
	e := &engine{goLoop: newGoLoop()}
	for range runtime.GOMAXPROCS(0) {
		p, err := newPoller()
		if err != nil {
			for _, made := range e.pollers {
				made.set.Close()
			}
			return nil, fmt.Errorf("start poller: %w", err)
		}
		e.pollers = append(e.pollers, p)
	}
	for _, p := range e.pollers {
		e.running.Go(p.run)
	}
	e.running.Go(e.goLoop.run)
	return e, nil
}

// attach gives c a socket over conn. On error conn is closed.
func (e *engine) attach(c *Conn, conn net.Conn, number uint64) (err error) {
	poller := func() *poller { return e.pollers[number%uint64(len(e.pollers))] }
	if tcp, ok := conn.(*net.TCPConn); ok {
		p := poller()
		c.loop = p.loop
		c.sock, err = newFDSocket(c, p, tcp)
	} else if t, under, tcp := overTLS(conn); t != nil {
		p := poller()
		c.loop = p.loop
		c.sock, err = newTLSSocket(c, p, t, under, tcp)
	} else {
		c.loop, c.sock = e.goLoop.loop, newGoSocket(c, e.goLoop, conn)
	}
	if err != nil {
		_ = conn.Close()
	}
	return err
}

func (e *engine) loops() []*loop {
	all := []*loop{e.goLoop.loop}
	for _, p := range e.pollers {
		all = append(all, p.loop)
	}
	return all
}
