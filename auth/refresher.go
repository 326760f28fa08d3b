package auth

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pushcart/pushcart/internal/guard"
)

const (
	refreshMin = 5 * time.Minute // fetches come at a random time between
	refreshMax = 15 * time.Minute
	retryPause = 5 * time.Second  // after a fetch that failed
	askPause   = 10 * time.Second // between two fetches that a token asked for
	askWait    = 2 * time.Second  // how long a handshake waits for such a fetch
)

// refresher keeps something fetched: at start, from time to time, and for
// handshakes that ask, which share one fetch.
type refresher struct {
	fetch  func(ctx context.Context) error
	log    *slog.Logger
	guard  *guard.Guard
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	asks   chan chan struct{} // what a handshake waits on; closed after the fetch
	done   sync.WaitGroup
}

// errPanicked is the answer where there is none because of a fault of ours.
var errPanicked = errors.New("internal error")

func newRefresher(fetch func(context.Context) error, log *slog.Logger) *refresher {
	r := &refresher{fetch: fetch, log: log, guard: guard.New(log, nil), asks: make(chan chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.done.Go(r.run)
	return r
}

func (r *refresher) close() {
	r.cancel()
	r.done.Wait()
}

// wait returns after a fetch, after askWait, or at once where the last fetch was a
// moment ago.
func (r *refresher) wait(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	fetched := make(chan struct{})
	select {
	case r.asks <- fetched:
		select {
		case <-fetched:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	case <-r.ctx.Done():
	}
}

func (r *refresher) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time
	for {
		var waiting []chan struct{}
		select {
		case <-r.ctx.Done():
			return
		case <-timer.C:
		case w := <-r.asks:
			if time.Since(last) < askPause {
				close(w)
				continue
			}
			waiting = append(waiting, w)
		}
		last = time.Now()
		timer.Reset(r.fetchFor(&waiting))
		for _, w := range waiting {
			close(w)
		}
	}
}

// fetchFor fetches, lets further handshakes join the wait, and returns the pause
// until the next fetch.
func (r *refresher) fetchFor(waiting *[]chan struct{}) time.Duration {
	result := make(chan error, 1)
	r.done.Go(func() {
		err := errPanicked
		defer func() { result <- err }()
		defer r.guard.Recover("key set", nil)
		err = r.fetch(r.ctx)
	})
	for {
		select {
		case w := <-r.asks:
			*waiting = append(*waiting, w)
		case err := <-result:
			if r.ctx.Err() != nil {
				return retryPause // it was cut off
			}
			if err != nil {
				r.log.Warn("key set not fetched", "err", err)
				return retryPause
			}
			return refreshMin + rand.N(refreshMax-refreshMin)
		}
	}
}
