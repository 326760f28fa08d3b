package redisfailures

import (
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// watched is a master with a replica under three sentinels, whose addresses nodes know.
type watched struct {
	deployment
	*redistest.Shard
	sentinels *redistest.Sentinels
}

func newWatched(t *testing.T, args ...string) *watched {
	t.Helper()
	w := &watched{sentinels: redistest.NewSentinels(t, 1, args...)}
	w.Shard = w.sentinels.Shard()
	w.yaml = "addresses: ['" + strings.Join(w.sentinels.Addrs, "', '") + "'], master_name: " + redistest.MasterName
	w.serving = func() (alive []*redistest.Server) {
		for _, s := range w.sentinels.Servers {
			if s.Try("PING") == "PONG" {
				alive = append(alive, s)
			}
		}
		return alive
	}
	w.loses = func(string) bool { return true }
	return w
}

// takenOver waits until the replica took over.
func (w *watched) takenOver(r *rig) {
	testkit.Eventually(r.t, "the replica takes over", func() bool {
		r.backFrom = time.Now()
		return w.Replica.IsPrimary()
	})
}

// masterKilled is a master that dies, and whose replica the sentinels promote.
func masterKilled(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	w := newWatched(t)
	return &w.deployment, func(r *rig, _ time.Duration) {
		r.broke()
		w.Primary.Kill()
		r.back(func() { w.takenOver(r) })
	}
}

// masterReplaced is a master whose replica takes over by command, when it has everything.
func masterReplaced(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	w := newWatched(t)
	return &w.deployment, func(r *rig, _ time.Duration) {
		r.broke()
		w.Hold(t)
		r.back(func() { w.sentinels.Failover(t) })
	}
}

// masterHangs is a master that hangs, and has nothing that its replica, which takes over,
// has not. It comes back, and the sentinels make it the replica.
func masterHangs(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	w := newWatched(t)
	return &w.deployment, func(r *rig, lasts time.Duration) {
		r.broke()
		w.Hold(t)
		w.Primary.Pause()
		r.back(func() { w.takenOver(r) })
		r.mended = comesBack(t, w.Primary, lasts)
	}
}

// allRestarted are the servers and the sentinels, killed and started again with what they
// had.
func allRestarted(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	w := newWatched(t, redistest.Keeping...)
	return &w.deployment, func(r *rig, lasts time.Duration) {
		r.broke()
		w.Hold(t)
		for i := range w.sentinels.Addrs {
			w.sentinels.KillSentinel(i)
		}
		w.Primary.Kill()
		w.Replica.Kill()
		<-time.After(lasts)
		r.back(func() {
			w.Primary.RestartSaved(t)
			w.Replica.RestartSaved(t)
			for i := range w.sentinels.Addrs {
				w.sentinels.StartSentinel(t, i)
			}
		})
	}
}
