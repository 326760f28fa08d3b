package lists

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/broker/redisbroker/pubsub"
)

// Lists is the lists in Redis. That a partition has any is said by its mark, and on a
// channel of its own when it gets its first: a node that is subscribed to that channel and
// found no mark then knows that none of the partition's topics has a list. It knows it in
// time, as both channels come on one connection: who was confirmed the topic after a list
// was begun has heard of that before.
//
// One goroutine talks to Redis (loop.go).
type Lists struct {
	link       *link.Link
	subscriber *pubsub.Subscriber
	topics     [link.Partitions]string // of the marks
	watch      func()                  // set before run; nil: nobody does

	mu     sync.Mutex // guards all below
	closed bool
	queue  []*call
	due    uint64 // partitions whose marks are to be read, as bits
	// heard is how often a first list was announced, and none the number of the
	// subscriber's connection on which a partition has no lists.
	heard, none [link.Partitions]int
	wake        chan struct{}

	// Of the loop only.
	line   *link.Line
	failed uint64 // partitions whose marks could not be read
}

// call is a question or a change on its way.
type call struct {
	topics []string              // to read
	change *broker.LastingChange // or to make
	gone   atomic.Bool           // the caller waits no longer
	done   chan struct{}
	// Set before done is closed.
	lists [][]string
	nodes int
	err   error
}

// New returns the lists, which are read from Start on.
func New(l *link.Link, s *pubsub.Subscriber) *Lists {
	all := &Lists{link: l, line: l.Line(changeSource), subscriber: s, wake: make(chan struct{}, 1)}
	for p := range all.topics {
		all.topics[p] = link.LastingTopic(p)
	}
	return all
}

// Start begins to talk to Redis. Call it after Listen.
func (l *Lists) Start() { l.link.Run("lists in Redis", l.run) }

// Watch is broker.Lasting's WatchLasting.
func (l *Lists) Watch(f func()) { l.watch = f }

// Listen has the subscriber listen to what is said of marks. Call it before that starts.
func (l *Lists) Listen() {
	for p, topic := range l.topics {
		l.subscriber.Listen(topic, pubsub.Listener{
			Channel: l.link.Keys().LastingChannel(p), Take: func(string) { l.begun(p) }, Confirmed: func() { l.look(1 << p) },
		})
	}
}

// begun is called when a partition gets its first list.
func (l *Lists) begun(p int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard[p]++
	l.none[p] = 0
}

// look has marks read, and whoever watches told afterwards: what was said of lists may be
// missed.
func (l *Lists) look(due uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due |= due
	l.wakeLocked()
}

func (l *Lists) wakeLocked() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// May is broker.Lasting's MayLast.
func (l *Lists) May(topic string) bool {
	p := link.TopicPartition(topic)
	if !l.link.UpFor(p) {
		return true
	}
	session := l.subscriber.Listening(l.topics[p])
	l.mu.Lock()
	defer l.mu.Unlock()
	return session == 0 || l.none[p] != session
}

// Read is broker.Lasting's Lasting.
func (l *Lists) Read(ctx context.Context, topics []string) ([][]string, error) {
	c := &call{topics: topics}
	if err := l.do(ctx, c); err != nil {
		return nil, err
	}
	return c.lists, nil
}

// Change is broker.Lasting's ChangeLasting.
func (l *Lists) Change(ctx context.Context, change broker.LastingChange) (nodes int, err error) {
	c := &call{change: &change}
	if err := l.do(ctx, c); err != nil {
		return 0, err
	}
	return c.nodes, nil
}

// do waits for a call.
func (l *Lists) do(ctx context.Context, c *call) error {
	c.done = make(chan struct{})
	if err := l.add(c); err != nil {
		return err
	}
	t := time.NewTimer(link.AnswerTimeout)
	defer t.Stop()
	select {
	case <-c.done:
		return c.err
	case <-t.C:
		c.gone.Store(true)
		return fmt.Errorf("%w: no answer in time", broker.ErrUnavailable)
	case <-ctx.Done():
		c.gone.Store(true)
		return link.Unavailable(ctx.Err())
	}
}

func (l *Lists) add(c *call) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return broker.ErrClosed
	case len(l.queue) >= link.MaxPending:
		return fmt.Errorf("%w: too many wait for lists", broker.ErrUnavailable)
	}
	l.queue = append(l.queue, c)
	l.wakeLocked()
	return nil
}

// refuseAll ends every call that waits, and those to come.
func (l *Lists) refuseAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, c := range l.queue {
		c.settle(broker.ErrClosed)
	}
	l.queue = nil
}

func (c *call) settle(err error) {
	c.err = err
	close(c.done)
}
