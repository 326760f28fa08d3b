package redisbroker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/broker"
)

// lasting is the lists in Redis. That a partition has any is said by its mark, and on a
// channel of its own when it gets its first: a node that is subscribed to that channel and
// found no mark then knows that none of the partition's topics has a list. It knows it in
// time, as both channels come on one connection: who was confirmed the topic after a list
// was begun has heard of that before.
//
// One goroutine talks to Redis (lasting_loop.go).
type lasting struct {
	link       *link
	subscriber *subscriber
	topics     [partitions]string // of the marks
	watch      func()             // set before run; nil: nobody does

	mu     sync.Mutex // guards all below
	closed bool
	queue  []*lastingCall
	due    uint64 // partitions whose marks are to be read, as bits
	// heard is how often a first list was announced, and none the number of the
	// subscriber's connection on which a partition has no lists.
	heard, none [partitions]int
	wake        chan struct{}

	// Of the loop only.
	line   line
	failed uint64 // partitions whose marks could not be read
}

// lastingCall is a question or a change on its way.
type lastingCall struct {
	topics []string              // to read
	change *broker.LastingChange // or to make
	gone   atomic.Bool           // the caller waits no longer
	done   chan struct{}
	// Set before done is closed.
	lists [][]string
	nodes int
	err   error
}

func newLasting(l *link, s *subscriber) *lasting {
	all := &lasting{link: l, line: line{link: l}, subscriber: s, wake: make(chan struct{}, 1)}
	for p := range all.topics {
		all.topics[p] = lastingTopic(p)
	}
	return all
}

// listen has the subscriber listen to what is said of marks.
func (l *lasting) listen() {
	for p, topic := range l.topics {
		l.subscriber.listen(topic, listener{
			channel: l.link.keys.lastingChannel(p), take: func(string) { l.begun(p) }, confirmed: func() { l.look(1 << p) },
		})
	}
}

// begun is called when a partition gets its first list.
func (l *lasting) begun(p int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard[p]++
	l.none[p] = 0
}

// look has marks read, and whoever watches told afterwards: what was said of lists may be
// missed.
func (l *lasting) look(due uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due |= due
	l.wakeLocked()
}

func (l *lasting) wakeLocked() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// may is Lasting.MayLast.
func (l *lasting) may(topic string) bool {
	if !l.link.health.isUp() {
		return true
	}
	p := partitionOf(nameOf(topic))
	session := l.subscriber.table.listening(l.topics[p])
	l.mu.Lock()
	defer l.mu.Unlock()
	return session == 0 || l.none[p] != session
}

// do waits for a call.
func (l *lasting) do(ctx context.Context, c *lastingCall) error {
	c.done = make(chan struct{})
	if err := l.add(c); err != nil {
		return err
	}
	t := time.NewTimer(publishTimeout)
	defer t.Stop()
	select {
	case <-c.done:
		return c.err
	case <-t.C:
		c.gone.Store(true)
		return fmt.Errorf("%w: no answer in time", broker.ErrUnavailable)
	case <-ctx.Done():
		c.gone.Store(true)
		return unavailable(ctx.Err())
	}
}

func (l *lasting) add(c *lastingCall) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return broker.ErrClosed
	case len(l.queue) >= MaxPending:
		return fmt.Errorf("%w: too many wait for lists", broker.ErrUnavailable)
	}
	l.queue = append(l.queue, c)
	l.wakeLocked()
	return nil
}

// refuseAll ends every call that waits, and those to come.
func (l *lasting) refuseAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, c := range l.queue {
		c.settle(broker.ErrClosed)
	}
	l.queue = nil
}

func (c *lastingCall) settle(err error) {
	c.err = err
	close(c.done)
}

// WatchLasting implements Lasting.
func (b *Broker) WatchLasting(f func()) { b.lasting.watch = f }

// MayLast implements Lasting.
func (b *Broker) MayLast(topic string) bool { return b.lasting.may(topic) }

// Lasting implements Lasting.
func (b *Broker) Lasting(ctx context.Context, topics ...string) ([][]string, error) {
	if !b.Up() {
		return nil, broker.ErrUnavailable
	}
	c := &lastingCall{topics: topics}
	if err := b.lasting.do(ctx, c); err != nil {
		return nil, err
	}
	return c.lists, nil
}

// ChangeLasting implements Lasting.
func (b *Broker) ChangeLasting(ctx context.Context, change broker.LastingChange) (nodes int, err error) {
	if !b.Up() {
		return 0, broker.ErrUnavailable
	}
	c := &lastingCall{change: &change}
	if err := b.lasting.do(ctx, c); err != nil {
		return 0, err
	}
	return c.nodes, nil
}
