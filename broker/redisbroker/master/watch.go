package master

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// askEvery is how often sentinels are asked while they are watched.
	askEvery = time.Second
	// silence is how long a sentinel may say nothing that is asked for a sign of life each
	// askEvery, before another one is listened to.
	silence = 3 * time.Second
)

// Watch calls look each second, and at once when a sentinel says that it switched to
// another master, until ctx ends. It listens to one of them, and goes to the next when that
// one is silent.
func (s *Sentinels) Watch(ctx context.Context, look func()) {
	switched := make(chan struct{}, 1)
	var listener sync.WaitGroup
	listener.Go(func() { s.guard.Loop("news of sentinels", func() { s.listen(ctx, switched) }) })
	defer listener.Wait()
	t := time.NewTicker(askEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-switched:
		}
		look()
	}
}

// listen listens to one sentinel after the other.
func (s *Sentinels) listen(ctx context.Context, switched chan<- struct{}) {
	for n := 0; ctx.Err() == nil; n++ {
		if at := s.pick(n); at != "" {
			if err := listenAt(ctx, s.dial(at), switched); ctx.Err() == nil {
				s.report.Silent(at, explain(err))
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(askEvery / 4):
		}
	}
}

// pick is the address of the n-th of those that answer, "" if none does.
func (s *Sentinels) pick(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var answer []string
	for _, one := range s.all {
		if !one.silent.Load() {
			answer = append(answer, one.address)
		}
	}
	if len(answer) == 0 {
		return ""
	}
	return answer[n%len(answer)]
}

// listenAt listens to a sentinel until it is silent, and closes the client.
func listenAt(ctx context.Context, c *redis.Client, switched chan<- struct{}) error {
	defer c.Close()
	sub := c.Subscribe(ctx, "+switch-master")
	defer sub.Close()
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })()
	pinging, stop := context.WithCancel(ctx)
	var pings sync.WaitGroup
	defer pings.Wait()
	defer stop()
	pings.Go(func() { ping(pinging, sub) })
	for {
		m, err := sub.ReceiveTimeout(ctx, silence)
		if err != nil {
			return err // it may be in the middle of a message
		}
		if _, pong := m.(*redis.Pong); pong {
			continue
		}
		select { // a subscription too: it may have come too late
		case switched <- struct{}{}:
		default:
		}
	}
}

// ping asks for a sign of life: that it failed shows in that none comes.
func ping(ctx context.Context, sub *redis.PubSub) {
	t := time.NewTicker(askEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			_ = sub.Ping(ctx)
		}
	}
}
