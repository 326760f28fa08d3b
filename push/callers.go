package push

import (
	"net"
	"sync"

	"github.com/valyala/fasthttp"
)

// callers are the connections of the push listener. fasthttp's Shutdown waits for
// a connection that has not sent anything yet (HTTP clients open spare ones) as
// for a request under way; here the two are told apart.
type callers struct {
	mu      sync.Mutex // guards all below
	silent  map[net.Conn]bool
	closing bool
}

func newCallers() *callers { return &callers{silent: map[net.Conn]bool{}} }

// state is the server's ConnState hook.
func (c *callers) state(conn net.Conn, s fasthttp.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s {
	case fasthttp.StateNew:
		c.silent[conn] = true
		if c.closing {
			_ = conn.Close()
		}
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		delete(c.silent, conn)
	default:
		c.silent[conn] = false
	}
}

// close closes those that never sent anything, or all.
func (c *callers) close(all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	for conn, silent := range c.silent {
		if silent || all {
			_ = conn.Close()
		}
	}
}
