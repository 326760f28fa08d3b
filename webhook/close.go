package webhook

import (
	"context"
	"fmt"
)

// close makes what waits for a retry due at once, goes on trying until ctx ends
// and waits for the goroutines.
func (q *queue) close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	idle := make(chan struct{})
	q.idle = idle
	q.releaseAllLocked()
	for len(q.later) > 0 {
		q.moveDueLocked(q.later[0].due)
	}
	q.pumpLocked()
	q.unlock()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = fmt.Errorf("webhooks: %w", ctx.Err())
	}
	q.abandon()
	q.d.cut()
	q.work.Wait()
	return err
}

// abandon gives up all that is not under way.
func (q *queue) abandon() {
	q.mu.Lock()
	q.over = true
	if q.timer != nil {
		q.timer.Stop()
	}
	for e := q.outbox.Front(); e != nil; {
		next := e.Next()
		if j := e.Value.(*job); !j.sent {
			q.lostLocked(j, lostAtTheEnd)
		}
		e = next
	}
	asks := q.unsentLocked(nil)
	q.unlock()
	for _, j := range asks {
		j.done(Answer{}, fmt.Errorf("%w: %w", ErrUnavailable, errClosed))
	}
}
