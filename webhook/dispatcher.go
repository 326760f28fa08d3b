package webhook

import (
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/pushcart/pushcart/internal/guard"
	"github.com/pushcart/pushcart/internal/httpclient"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/metrics"
)

// Dispatcher sends events to the backend.
type Dispatcher struct {
	settings atomic.Pointer[Settings]
	node     string
	source   string
	metrics  *metrics.Metrics
	guard    *guard.Guard
	rare     *ratelog.Logger
	taken    atomic.Bool // a message was answered 2xx
	letters  Letters     // nil: none are kept

	mu      sync.Mutex // guards retired
	retired []*httpclient.Client

	// ctx ends with Close's patience.
	ctx    context.Context
	cancel context.CancelFunc

	queue *queue
}

// New returns a dispatcher. It runs goroutines only while requests are in flight; Close
// waits for them.
func New(set *Settings, nodeID string, m *metrics.Metrics, log *slog.Logger) *Dispatcher {
	d := &Dispatcher{node: nodeID, source: sourcePrefix + nodeID, metrics: m, guard: guard.New(log, m.Panics.Inc), rare: ratelog.New(log)}
	d.settings.Store(set)
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.queue = newQueue(d)
	for i := range d.queue.kinds {
		m.WebhookBreaker.WithLabelValues(d.queue.kinds[i].event).Set(0)
	}
	d.measure()
	return d
}

// measure shows what waits, where, and for how long.
func (d *Dispatcher) measure() {
	m := d.metrics
	m.Gauge("pushcart_webhook_outbox", "Notifications that wait for delivery on this node.",
		func() float64 { return float64(d.queue.waiting()) })
	m.Gauge("pushcart_webhook_outbox_redis", "Notifications that wait in Redis, of all nodes; 0 without Redis.",
		func() float64 { waiting, _ := d.sizes(); return float64(waiting) })
	m.Gauge("pushcart_webhook_dead_letters", "Notifications that were given up and are kept, of all nodes.",
		func() float64 { _, dead := d.sizes(); return float64(dead) })
	m.Gauge("pushcart_webhook_at_once", "Notifications that may be in flight at once; less than half of webhook.max_in_flight after failures.",
		func() float64 { return float64(d.queue.atOnce()) })
	m.Gauge("pushcart_webhook_outbox_oldest_seconds", "Age of the oldest notification that waits on this node; 0 if none waits.",
		func() float64 { return d.OldestWaiting().Seconds() })
	m.Gauge("pushcart_webhook_asked", "Messages of clients that wait for the backend's answer.",
		func() float64 { return float64(d.queue.asked()) })
}

// Wants says whether webhook.events names the event.
func (d *Dispatcher) Wants(name string) bool { return d.settings.Load().Wants(name) }

// Connect sends a connect event, with the settings with which the handshake began. It
// makes one attempt; a 4xx is an Answer, any other failure is an error that wraps
// ErrUnavailable. It waits no longer than ctx.
func (d *Dispatcher) Connect(ctx context.Context, set *Settings, ev *Event) (Answer, error) {
	type result struct {
		a   Answer
		err error
	}
	got := make(chan result, 1)
	j := newJob(ev, func(a Answer, err error) { got <- result{a, err} })
	j.set, j.deadline = set, j.born.Add(set.timeout)
	if by, ok := ctx.Deadline(); ok {
		j.deadline = by
	}
	j.wanted = ctx
	d.queue.ask(j)
	select {
	case r := <-got:
		return r.a, r.err
	case <-ctx.Done():
		d.queue.drop(j) // nobody is there to come in
		return Answer{}, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

// Ask queues a message, subscribe or publish and returns at once; done is called once,
// from another goroutine, with the backend's answer, which may be a 4xx, or an error that
// wraps ErrUnavailable. That takes no longer than webhook.timeout per attempt: a message
// has several, the others one. It is sent after the first attempt at earlier
// notifications of its connection.
func (d *Dispatcher) Ask(ev *Event, done func(Answer, error)) {
	j := newJob(ev, done)
	j.deadline = j.born.Add(time.Duration(d.queue.kindOf(ev.Name).tries) * d.settings.Load().timeout)
	d.queue.ask(j)
}

// Tell queues a notification and returns at once. Events of one connection, and facts
// about one user, channel, or user in a channel, are delivered in order and retried until
// webhook.retry.give_up_after.
func (d *Dispatcher) Tell(ev *Event) { d.queue.tell(newJob(ev, nil)) }

// Close delivers waiting events and returns when none is left or ctx ends; then it cuts
// requests in flight, and counts and logs the remaining events as lost, as well as
// notifications that come later. Requests made from now on get ErrUnavailable.
func (d *Dispatcher) Close(ctx context.Context) error {
	return d.queue.close(ctx)
}

// job is one event on its way.
type job struct {
	event *Event
	id    uuid.UUID           // of the event, and of the trace that it begins
	key   string              // what it is in order with
	born  time.Time           // when it came, or happened, if that was before
	done  func(Answer, error) // nil for a notification
	tries int
	kind  *kind // of what is asked, else nil
	class *class
	set   *Settings // of connect, those of its handshake; else of the last attempt

	sent      bool          // a try is under way
	place     *list.Element // in class.ready, nil when not there
	due       time.Time     // of the next try, while in queue.later
	index     int           // there, -1 when not
	kept      *list.Element // in queue.outbox, of a notification
	with      []*job        // the notifications in the same request, while that is under way
	alone     bool          // it is told in a request of its own
	withdrawn bool          // it is not told again; see Withdraw
	dropped   bool          // nor is this, as an operator does not want it told
	failure   string        // why it was not told yet
	hurried   bool          // it does not wait for others
	behind    int           // the told events of its connection before a message

	deadline       time.Time       // of a question: it has its answer by then
	wanted         context.Context // of connect: ends when nobody waits for the answer any more
	older, younger *job            // its neighbours in queue.asks
	queued         bool            // it is there
}

func newJob(ev *Event, done func(Answer, error)) *job {
	j := &job{event: ev, id: ev.id(), key: ev.key(), born: time.Now(), done: done, index: -1}
	if !ev.Time.IsZero() && ev.Time.Before(j.born) {
		j.born = ev.Time
	}
	return j
}

func (j *job) size() int { return 256 + len(j.event.Body) + len(j.event.State) }

// time is when the event happened.
func (j *job) time() time.Time {
	if j.event.Time.IsZero() {
		return j.born
	}
	return j.event.Time
}
