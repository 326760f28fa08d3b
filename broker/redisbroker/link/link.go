package link

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/guard"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/metrics"
)

// MaxPending bounds what waits for Redis in one queue: publications, readings, changes of
// lists, seats. Past it a call fails with ErrUnavailable at once.
const MaxPending = 65536

const (
	// AnswerTimeout is when a call that waits for Redis is given up: below the 3 s that a
	// push may take while Redis hangs.
	AnswerTimeout = 2500 * time.Millisecond
	// PipelineAtOnce bounds the commands of one round trip.
	PipelineAtOnce = 256
	// loopPause is how long after a panic a loop runs again.
	loopPause = time.Second
)

// Link is this node's way to Redis: how to connect, how keys are named, whether
// Redis is healthy, and how long all of it lives. What talks to Redis stands on it, each
// with its own line and loop. All methods may be called concurrently, but for OnLeave.
type Link struct {
	// Never changed.
	keys   *Keys
	node   string
	log    *slog.Logger
	ctx    context.Context // ends with Close
	health *Health
	guard  *guard.Guard
	// policy is how Redis evicts, once that was warned of.
	policy atomic.Pointer[string]
	// server is the name of the server that was connected to last, and era counts when
	// connections to it were given up.
	server atomic.Pointer[string]
	era    atomic.Int64

	options *redis.Options
	cancel  context.CancelFunc
	work    sync.WaitGroup
	leaving []func() // set before anything runs
}

// New returns a link for a node of this id. It connects when something is sent.
func New(cfg config.Redis, node string, m *metrics.Metrics, log *slog.Logger) (*Link, error) {
	o, err := newOptions(cfg)
	if err != nil {
		return nil, err
	}
	o.ClientName = "pushcart-" + node
	l := &Link{
		keys: NewKeys(cfg.Prefix, o.DB), node: node, log: log,
		health: newHealth(m.RedisUp.Set, log), guard: guard.New(log, m.Panics.Inc), options: o,
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l, nil
}

// Keys names what is in Redis.
func (l *Link) Keys() *Keys { return l.keys }

// Node is this node's id, which is another one after each start.
func (l *Link) Node() string { return l.node }

// Context ends with Close.
func (l *Link) Context() context.Context { return l.ctx }

// Health is what is known of Redis.
func (l *Link) Health() *Health { return l.health }

// Up says whether Redis delivers, as far as is known.
func (l *Link) Up() bool { return l.health.Up() }

// Log is for what may repeat: one line per cause and minute.
func (l *Link) Log() *ratelog.Logger { return l.health.rate }

// Slog is for what happens once.
func (l *Link) Slog() *slog.Logger { return l.log }

// Guard takes panics.
func (l *Link) Guard() *guard.Guard { return l.guard }

// Connect returns a client with one connection, which is made with its first command. It
// is for subscriptions, which a Line has none of.
func (l *Link) Connect() *redis.Client {
	o := *l.options
	return redis.NewClient(&o)
}

// Run has a loop run until Close, which waits for its return. After a panic and a
// pause it runs again.
func (l *Link) Run(where string, loop func()) {
	first := true
	l.work.Go(func() {
		l.guard.Loop(where, func() {
			if !first {
				select {
				case <-l.ctx.Done():
					return
				case <-time.After(loopPause):
				}
			}
			first = false
			loop()
		})
	})
}

// OnLeave has f called whenever connections are to be made again, and at the end.
// Call it before Run.
func (l *Link) OnLeave(f func()) { l.leaving = append(l.leaving, f) }

// Leave gives up the connections to a server that must not be used.
func (l *Link) Leave(why error) {
	l.era.Add(1)
	l.health.Fall(why)
	for _, f := range l.leaving {
		f()
	}
}

// Close ends everything that stands on the link.
func (l *Link) Close() {
	l.cancel()
	for _, f := range l.leaving {
		f()
	}
	l.work.Wait()
}

// proofKept is how long the key lives that prove writes.
const proofKept = time.Minute

// Prove adds a write to what goes to Redis: an answered PUBLISH proves nothing, as
// replicas take it too.
func (l *Link) Prove(ctx context.Context, to redis.Cmdable) *redis.StatusCmd {
	return to.Set(ctx, l.keys.probe(l.node), "", proofKept)
}
