package roster

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
)

const (
	// callWait is how long a caller waits, and maxCalls how many do.
	callWait = 3 * time.Second
	maxCalls = 1000
)

// call is a question of somebody who waits.
type call struct {
	ask  func(ctx context.Context, pipe redis.Pipeliner) redis.Cmder
	done chan struct{}
	// Set before done is closed.
	cmd redis.Cmder
	err error
}

// ask sends one command and waits for its answer. An error wraps ErrUnavailable or
// ErrClosed, or is redis.Nil.
func (k *keeper) ask(ctx context.Context, ask func(ctx context.Context, pipe redis.Pipeliner) redis.Cmder) error {
	c := &call{ask: ask, done: make(chan struct{})}
	if err := k.add(c); err != nil {
		return err
	}
	t := time.NewTimer(callWait)
	defer t.Stop()
	select {
	case <-c.done:
		return c.err
	case <-t.C:
		return fmt.Errorf("%w: no answer in time", broker.ErrUnavailable)
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", broker.ErrUnavailable, ctx.Err())
	}
}

func (k *keeper) add(c *call) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.ended:
		return broker.ErrClosed
	case len(k.calls) >= maxCalls:
		return fmt.Errorf("%w: too many ask", broker.ErrUnavailable)
	}
	k.calls = append(k.calls, c)
	k.nudge()
	return nil
}

// asked adds the calls that wait.
func (k *keeper) asked(all []errand) []errand {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.calls {
		all = append(all, c)
	}
	k.calls = nil
	return all
}

// refuseCalls ends every call that waits, and those to come.
func (k *keeper) refuseCalls() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	for _, c := range k.calls {
		c.err = broker.ErrClosed
		close(c.done)
	}
	k.calls = nil
}

func (*call) partition() int { return everywhere }

func (c *call) send(ctx context.Context, pipe redis.Pipeliner) { c.cmd = c.ask(ctx, pipe) }

func (c *call) learn(err error) {
	if err == nil {
		err = c.cmd.Err()
	}
	if err != nil && err != redis.Nil {
		err = fmt.Errorf("%w: %w", broker.ErrUnavailable, err)
	}
	c.err = err
	close(c.done)
}
