package integration

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/sidecartest"
)

// rawClient is a client without positions, beside those of client/js: it reconnects when
// its node is killed. got has the numbers that came on each of its connections.
type rawClient struct {
	mu  sync.Mutex // guards got
	got [][]int
}

// runRaw starts raw clients that are subscribed to every channel by their token.
func (c *jsonChaos) runRaw(t *testing.T, n int) []*rawClient {
	t.Helper()
	var names []string
	for i := range jsonChannels {
		names = append(names, fmt.Sprint("s.", i))
	}
	front := &sidecartest.Sidecar{Public: c.front.addr}
	stop, all := make(chan struct{}), make([]*rawClient, n)
	var work sync.WaitGroup
	for i := range all {
		all[i] = &rawClient{}
		work.Go(func() { all[i].run(front, token(fmt.Sprint("raw", i), names...), stop) })
	}
	t.Cleanup(func() { close(stop); work.Wait() })
	return all
}

func (r *rawClient) run(front *sidecartest.Sidecar, token string, stop <-chan struct{}) {
	for {
		if conn, err := tryDial(front, "/_push", bearer(token)); err == nil {
			r.mu.Lock()
			r.got = append(r.got, nil)
			r.mu.Unlock()
			for err == nil {
				var b []byte
				_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
				if _, b, err = conn.ReadMessage(); err == nil {
					r.take(string(b))
				}
			}
			_ = conn.Close()
		}
		select {
		case <-stop:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (r *rawClient) take(text string) {
	number, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	last := &r.got[len(r.got)-1]
	*last = append(*last, number)
}

// checkRaw: on one connection nothing came twice, and each channel's messages in the
// order of their offsets. That some are missing is what raw clients are promised.
func (c *jsonChaos) checkRaw(t *testing.T, all []*rawClient) {
	t.Helper()
	type place struct {
		stream string
		offset int
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	places, came := map[int]place{}, 0
	for key, messages := range c.got {
		for _, m := range messages {
			places[m.number] = place{key[1], m.offset}
		}
	}
	for i, r := range all {
		r.mu.Lock()
		for _, connection := range r.got {
			last := map[string]int{}
			for _, number := range connection {
				p, known := places[number]
				if !known {
					t.Errorf("raw client %d: %d was never pushed", i, number)
				} else if p.offset <= last[p.stream] {
					t.Errorf("raw client %d, %s: offset %d after %d", i, p.stream, p.offset, last[p.stream])
				}
				last[p.stream] = p.offset
				came++
			}
		}
		r.mu.Unlock()
	}
	if came == 0 {
		t.Error("nothing came to raw clients")
	}
	t.Logf("%d messages came to %d raw clients", came, len(all))
}
