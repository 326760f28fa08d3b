package ws

import (
	"context"
	"errors"
	"math"
	"time"
)

const (
	drainStep    = 100 * time.Millisecond
	minDrainRate = 100 // connections per second
)

// BeginDrain refuses handshakes from now on.
func (s *Server) BeginDrain() { s.sessions.Drain() }

// Drain refuses new handshakes and closes the connections with 1012 in batches
// spread over shutdown.drain, so that their reconnects do not fall on the other
// nodes at once (SPEC §9, §11). It returns when all are gone or ctx ends.
func (s *Server) Drain(ctx context.Context) error {
	s.BeginDrain()
	var all []*Conn
	for _, l := range s.engine.loops() {
		l.each(func(c *Conn) { all = append(all, c) })
	}
	batch := drainBatch(len(all), s.settings.Load().drain)
	tick := time.NewTicker(drainStep)
	defer tick.Stop()
	for !errors.Is(ctx.Err(), context.Canceled) { // that is: at once, and Close says so
		n := min(batch, len(all))
		for _, c := range all[:n] {
			c.end(endDrain)
		}
		all = all[n:]
		if len(all) == 0 && s.Connections() == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// drainBatch is how many connections are closed in one step. The last step comes
// while there is still time for its Close handshakes.
func drainBatch(connections int, over time.Duration) int {
	rate := float64(minDrainRate)
	if s := (over - over/10).Seconds(); s > 0 {
		rate = max(rate, float64(connections)/s)
	} else {
		rate = math.MaxInt32
	}
	return int(min(math.Ceil(rate*drainStep.Seconds()), math.MaxInt32))
}
