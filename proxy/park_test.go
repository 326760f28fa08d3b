package proxy_test

import (
	"context"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// parked waits until no connection of a client has a goroutine.
func parked(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("connections are parked on Linux only")
	}
	stacks := make([]byte, 1<<20)
	testkit.Eventually(t, "all connections are parked", func() bool {
		return !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "proxy.(*clientConn).serve")
	})
}

// answering answers every request that reaches the backend, and tells what came.
func (r *rig) answering() <-chan string {
	got := make(chan string, 100)
	one := func(p *peer) {
		for m, err := p.tryMessage(); err == nil; m, err = p.tryMessage() {
			got <- m
			p.send(ok)
		}
	}
	done := make(chan struct{})
	r.t.Cleanup(func() { close(done) })
	go func() {
		for {
			select {
			case p := <-r.peers:
				go one(p)
			case <-done:
				return
			}
		}
	}()
	return got
}

// servedTwo opens two connections that had an answer each.
func servedTwo(r *rig) (clients []*peer, got <-chan string) {
	clients, got = []*peer{r.dial(), r.dial()}, r.answering()
	for _, c := range clients {
		c.send(get)
		c.wants(ok)
		<-got
	}
	return clients, got
}

func TestQuietConnections_HaveNoGoroutineAndGoOn(t *testing.T) {
	r := newRig(t)
	clients, got := servedTwo(r)
	for range 2 {
		parked(t)
		for _, c := range clients {
			c.send(get[:10])
			c.stays() // half a head wakes it, no more
			c.send(get[10:])
			c.wants(ok)
			<-got
		}
	}
	parked(t)
	clients[1].send("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 4\r\n\r\nbo")
	clients[1].send("dy")
	clients[1].wants(ok)
	if m := <-got; !strings.HasSuffix(m, "\r\n\r\nbody") {
		t.Fatalf("the backend got %q", m)
	}
}

func TestQuietConnections_EndWithTheirClient(t *testing.T) {
	r := newRig(t)
	clients, _ := servedTwo(r)
	parked(t)
	_ = clients[0].conn.Close()
	testkit.Eventually(t, "one connection is left", func() bool { return r.gauge("pushcart_client_connections") == 1 })
	clients[1].stays()
}

func TestQuietConnections_EndAtTheIdleTimeout(t *testing.T) {
	r := newRig(t, func(c *config.Config) { c.Client.IdleTimeout = 2 * time.Second })
	clients, _ := servedTwo(r)
	parked(t)
	for _, c := range clients {
		c.ends()
	}
	testkit.Eventually(t, "no connection is left", func() bool { return r.gauge("pushcart_client_connections") == 0 })
}

func TestQuietConnections_DoNotHoldUpShutdown(t *testing.T) {
	r := newRig(t)
	clients, _ := servedTwo(r)
	parked(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.server.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown returned %v", err)
	}
	for _, c := range clients {
		c.ends()
	}
}

// gauge reads a metric as a scraper would.
func (r *rig) gauge(name string) float64 {
	r.t.Helper()
	return testkit.Metric(r.t, r.metrics.Handler(), name)
}

// A client that sends something and is gone at once has no address any more when
// its connection is looked at.
func TestQuietConnections_MayEndWithAReset(t *testing.T) {
	r := newRig(t)
	clients := make([]*peer, 20)
	for i := range clients {
		clients[i] = r.dial()
	}
	still := r.dial()
	parked(t)
	for _, c := range clients {
		c.send("G")
		_ = c.conn.(*net.TCPConn).SetLinger(0)
		_ = c.conn.Close()
	}
	testkit.Eventually(t, "one connection is left", func() bool { return r.gauge("pushcart_client_connections") == 1 })
	still.stays()
}
