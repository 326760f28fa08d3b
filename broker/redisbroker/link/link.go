package link

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker/redisbroker/access"
	"github.com/pushcart/pushcart/broker/redisbroker/master"
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
	keys  *Keys
	node  string
	log   *slog.Logger
	rate  *ratelog.Logger
	ctx   context.Context // ends with Close
	guard *guard.Guard
	gauge func(float64)

	// policy is how Redis evicts, once that was warned of.
	policy atomic.Pointer[string]

	mode       string // as configured; "" or auto: ask the server
	addresses  []string
	masterName string
	options    *redis.Options
	blank      *redis.Client // never connected: commands are collected with it
	cancel     context.CancelFunc
	work       sync.WaitGroup
	leaving    []func(*Shard) // set before anything runs

	sentinelUser     string
	sentinelPassword *access.Password
	sentinels        atomic.Pointer[master.Sentinels] // nil: there are none, as far as is known
	watched          chan *Shard                      // the shard that they name

	up       atomic.Bool
	topology atomic.Pointer[Topology] // nil until a server was found
	mistaken atomic.Bool              // a server runs in another mode than its shard
	wanted   chan string              // asks for another look at the cluster, beginning with an address

	finding sync.Mutex // held by who finds out the topology; guards byName
	byName  *Shard     // that sentinels name; nil: there are none, as far as is known

	mu     sync.Mutex // guards all below, and what is said of health
	lost   error      // why no topology is known
	ending []func()
}

// New returns a link for a node of this id. It connects when something is sent.
func New(cfg config.Redis, node string, m *metrics.Metrics, log *slog.Logger) (*Link, error) {
	rate := ratelog.New(log)
	o, addresses, err := access.Options(cfg, rate)
	if err != nil {
		return nil, err
	}
	o.ClientName = "pushcart-" + node
	l := &Link{
		keys: NewKeys(cfg.Prefix, o.DB), node: node, log: log, rate: rate, gauge: m.RedisUp.Set,
		guard: guard.New(log, m.Panics.Inc), mode: cfg.Mode, options: o, wanted: make(chan string, 1), lost: errStarting,
		addresses: addresses, masterName: cfg.MasterName, sentinelUser: cfg.SentinelUsername,
		sentinelPassword: access.NewPassword("redis.sentinel_password", string(cfg.SentinelPassword), cfg.SentinelPasswordFile, rate),

		watched: make(chan *Shard, 1),
	}
	blank := *o
	l.blank = redis.NewClient(&blank)
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l, nil
}

// Start begins to follow where the partitions are. Nothing needs it that talks to one
// server only.
func (l *Link) Start() {
	l.Run("servers of Redis", l.follow)
	l.Run("sentinels of Redis", l.watch)
}

// Keys names what is in Redis.
func (l *Link) Keys() *Keys { return l.keys }

// Node is this node's id, which is another one after each start.
func (l *Link) Node() string { return l.node }

// Context ends with Close.
func (l *Link) Context() context.Context { return l.ctx }

// Log is for what may repeat: one line per cause and minute.
func (l *Link) Log() *ratelog.Logger { return l.rate }

// Slog is for what happens once.
func (l *Link) Slog() *slog.Logger { return l.log }

// Guard takes panics.
func (l *Link) Guard() *guard.Guard { return l.guard }

// Up says whether messages are delivered by all shards, as far as is known.
func (l *Link) Up() bool { return l.up.Load() }

// UpFor says whether messages of a partition are delivered, as far as is known.
func (l *Link) UpFor(partition int) bool {
	if l.up.Load() {
		return true
	}
	t := l.topology.Load()
	return t != nil && t.of[partition] != nil && t.of[partition].Up()
}

// Err says why not all messages are delivered, or else why writes are refused; nil: all
// is well.
func (l *Link) Err() error {
	t := l.topology.Load()
	if t == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.lost
	}
	var refused error
	for _, s := range t.Shards {
		err := s.Err()
		if err != nil && !s.Up() {
			return err
		}
		if refused == nil {
			refused = err
		}
	}
	if t.unserved() {
		return errUnserved
	}
	return refused
}

// show updates the gauge and up from the health of all shards.
func (l *Link) show() {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.topology.Load()
	up := t != nil && !t.unserved()
	value := 1.0
	for i := 0; up && i < len(t.Shards); i++ {
		up = t.Shards[i].Up()
		if t.Shards[i].Err() != nil {
			value = 0
		}
	}
	if !up {
		value = 0
	}
	l.up.Store(up)
	l.gauge(value)
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

// OnLeave has f called whenever connections to a shard are to be made again, and at the
// end with nil, for all. Call it before Run.
func (l *Link) OnLeave(f func(*Shard)) { l.leaving = append(l.leaving, f) }

// AtEnd has f called when all that runs has returned.
func (l *Link) AtEnd(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = append(l.ending, f)
}

// Close ends everything that stands on the link.
func (l *Link) Close() {
	l.cancel()
	for _, f := range l.leaving {
		f(nil)
	}
	l.work.Wait()
	l.mu.Lock()
	ending := l.ending
	l.ending = nil
	l.mu.Unlock()
	for _, f := range ending {
		f()
	}
	_ = l.blank.Close()
	if s := l.sentinels.Load(); s != nil {
		s.Close()
	}
}

// proofKept is how long the key lives that proves writes.
const proofKept = time.Minute

// Prove adds a write to what goes to Redis: an answered PUBLISH proves nothing, as
// replicas take it too.
func (l *Link) Prove(ctx context.Context, to redis.Cmdable, partition int) *redis.StatusCmd {
	return to.Set(ctx, l.keys.probe(partition, l.node), "", proofKept)
}
