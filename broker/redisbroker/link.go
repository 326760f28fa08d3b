package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/guard"
	"github.com/pushcart/pushcart/metrics"
)

// MaxPending bounds what waits for Redis in one queue: publications, readings, changes of
// lists, seats. Past it a call fails with ErrUnavailable at once.
const MaxPending = 65536

// ErrLayout, of Start: what Redis holds under our prefix is another version's.
var ErrLayout = errors.New("broker: another layout of keys")

// link is this node's way to Redis: how to connect, how keys are named, whether
// Redis is healthy, and how long all of it lives. The publisher, the subscriber, the
// canary and the seats stand on it, each with its own connections.
type link struct {
	// Read by everything that stands on the link; never changed.
	keys   *keys
	node   string
	log    *slog.Logger
	ctx    context.Context // ends with close
	health *health
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

func newLink(cfg config.Redis, node string, m *metrics.Metrics, log *slog.Logger) (*link, error) {
	o, err := newOptions(cfg)
	if err != nil {
		return nil, err
	}
	o.ClientName = "pushcart-" + node
	l := &link{
		keys: newKeys(cfg.Prefix, o.DB), node: node, log: log,
		health: newHealth(m.RedisUp.Set, log), guard: guard.New(log, m.Panics.Inc), options: o,
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l, nil
}

// connect returns a client for one goroutine. It has one connection, which is made
// with its first command; to make another is to connect again. Scripts are loaded
// before anything else goes out, so that they are there for what follows in the
// same round trip; should that fail, what needs them will.
func (l *link) connect(scripts ...string) *redis.Client {
	o := *l.options
	if len(scripts) > 0 {
		o.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
			for _, source := range scripts {
				_ = conn.ScriptLoad(ctx, source).Err()
			}
			return nil
		}
	}
	return redis.NewClient(&o)
}

// run has a loop run until close, which waits for its return. After a panic and a
// pause it runs again.
func (l *link) run(where string, loop func()) {
	first := true
	l.work.Go(func() {
		l.guard.Loop(where, func() {
			if !first {
				select {
				case <-l.ctx.Done():
					return
				case <-time.After(reconnectMax):
				}
			}
			first = false
			loop()
		})
	})
}

// onLeave has f called whenever connections are to be made again, and at the end.
func (l *link) onLeave(f func()) { l.leaving = append(l.leaving, f) }

// leave gives up the connections to a server that must not be used.
func (l *link) leave(why error) {
	l.era.Add(1)
	l.health.fall(why)
	for _, f := range l.leaving {
		f()
	}
}

// close ends everything that stands on the link.
func (l *link) close() {
	l.cancel()
	for _, f := range l.leaving {
		f()
	}
	l.work.Wait()
}

// proofKept is how long the key lives that prove writes.
const proofKept = time.Minute

// prove adds a write to what goes to Redis: an answered PUBLISH proves nothing, as
// replicas take it too.
func (l *link) prove(ctx context.Context, to redis.Cmdable) *redis.StatusCmd {
	return to.Set(ctx, l.keys.probe(l.node), "", proofKept)
}

// checkLayout compares the stored layout with this version's, and stores this
// version's where there is none. Its error wraps ErrLayout, or is what Redis
// answered.
func (l *link) checkLayout(ctx context.Context, c *redis.Client) error {
	found, err := c.Get(ctx, l.keys.layout).Result()
	if errors.Is(err, redis.Nil) {
		found, err = c.SetArgs(ctx, l.keys.layout, layoutVersion, redis.SetArgs{Mode: "NX", Get: true}).Result()
		if errors.Is(err, redis.Nil) {
			return nil
		}
	}
	if err == nil && found != layoutVersion {
		err = fmt.Errorf("%w: %s is %q, this version's layout is %q; use another redis.prefix or redis.database, "+
			"or remove what is stored under this one", ErrLayout, l.keys.layout, found, layoutVersion)
	}
	return err
}
