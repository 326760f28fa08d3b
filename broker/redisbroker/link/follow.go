package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/config"
)

const (
	// lookWait bounds a question to one server about the others.
	lookWait = time.Second
	// lookEvery is how often a cluster is looked at anyway, and lookSoon how often while
	// something of it is away.
	lookEvery = 15 * time.Second
	lookSoon  = time.Second
	// tryAway is how often a server that is away is tried.
	tryAway = 250 * time.Millisecond
)

// Topology says which shard serves which partition. It asks, the first time.
func (l *Link) Topology(ctx context.Context) (*Topology, error) {
	if t := l.topology.Load(); t != nil {
		return t, nil
	}
	l.finding.Lock()
	defer l.finding.Unlock()
	if t := l.topology.Load(); t != nil {
		return t, nil
	}
	t, err := l.find(ctx)
	if err != nil {
		l.mu.Lock()
		l.lost = err
		l.mu.Unlock()
		return nil, err
	}
	l.topology.Store(t)
	l.show()
	return t, nil
}

// find asks the first address that answers what it is.
func (l *Link) find(ctx context.Context) (*Topology, error) {
	switch l.mode {
	case config.RedisStandalone:
		return single(l.node, l.listed()), nil
	case config.RedisSentinel:
		return single(l.node, l.named()), nil
	}
	var errs []error
	for _, at := range l.addresses {
		mode, err := l.modeAt(ctx, at)
		if err == nil {
			return l.found(ctx, at, mode)
		}
		errs = append(errs, fmt.Errorf("%s: %w", at, err))
	}
	return nil, errors.Join(errs...)
}

// found is the topology of a server that was asked what it is.
func (l *Link) found(ctx context.Context, at, mode string) (*Topology, error) {
	switch err := l.wrongMode(mode); {
	case err != nil:
		return nil, err
	case mode == config.RedisSentinel:
		return single(l.node, l.named()), nil
	case mode != config.RedisCluster:
		return single(l.node, l.listed()), nil
	}
	return l.ask(ctx, at, nil)
}

// modeAt asks the server at an address what it is. A sentinel may not know our user.
func (l *Link) modeAt(ctx context.Context, at string) (string, error) {
	o := *l.options
	o.Addr, o.DB = at, 0 // a cluster refuses others before it says that it is one, a sentinel has none
	mode, err := modeOf(ctx, redis.NewClient(&o))
	if Judge(err) != Elsewhere || l.mode != "" && l.mode != config.RedisAuto {
		return mode, err
	}
	if mode, failed := modeOf(ctx, l.dialSentinel(at)); failed == nil && mode == config.RedisSentinel {
		return mode, nil
	} else if l.sentinelPassword.Read() != "" && failed != nil {
		return "", fmt.Errorf("redis.password: %w; redis.sentinel_password: %w", err, failed)
	}
	return "", err
}

// ask asks one server of a cluster which server has what. Shards of the topology before
// go on.
func (l *Link) ask(ctx context.Context, address string, before *Topology) (*Topology, error) {
	c := l.dial(address)
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	pipe := c.Pipeline()
	slots := pipe.ClusterSlots(ctx)
	_, _ = exec(ctx, pipe)
	ranges, err := slots.Result()
	if err != nil {
		return nil, err
	}
	known := map[string]*Shard{}
	if before != nil {
		for _, s := range before.Shards {
			known[s.address] = s
		}
	}
	var of [places]*Shard
	for _, r := range ranges {
		if len(r.Nodes) == 0 {
			continue
		}
		at := absolute(r.Nodes[0].Addr, address)
		for p, slot := range l.keys.slots {
			if slot < r.Start || slot > r.End {
				continue
			}
			if known[at] == nil {
				known[at] = l.newShard(at)
			}
			of[p] = known[at]
		}
	}
	return newTopology(l.node, of), nil
}

// Look has the cluster looked at again soon: a server said that others have a partition.
func (l *Link) Look() { l.look("") }

// Unreachable notes that no server was found.
func (l *Link) Unreachable(err error) {
	tellAway(l.rate, err, nil)
}

// look has the cluster looked at again soon.
func (l *Link) look(address string) {
	select {
	case l.wanted <- address:
	default:
	}
}

// renew looks at the cluster again, beginning with an address, if that is not "". It
// returns at once where somebody else does so already.
func (l *Link) renew(ctx context.Context, address string) *Topology {
	before := l.topology.Load()
	if !l.finding.TryLock() {
		return before
	}
	defer l.finding.Unlock()
	var best *Topology
	for _, at := range l.advisers(before, address) {
		t, err := l.ask(ctx, at, before)
		if err != nil {
			l.log.Debug("a server of the cluster does not say which has what", "server", at, "err", err)
			continue
		}
		if best == nil || best.unserved() && !t.unserved() {
			best = t
		}
		if !best.unserved() {
			break
		}
	}
	if best == nil || best.same(before) {
		return before
	}
	l.replace(before, best)
	l.log.Info("the cluster's servers have other parts than before", "servers", len(best.Shards))
	return best
}

// advisers are the addresses to ask, those that answer first.
func (l *Link) advisers(t *Topology, first string) (all []string) {
	if first != "" {
		all = append(all, first)
	}
	var away []string
	for _, s := range t.Shards {
		switch {
		case s.Away():
			away = append(away, s.address)
		case s.address != first:
			all = append(all, s.address)
		}
	}
	return append(append(all, l.addresses...), away...)
}

// follow keeps the topology of a cluster, and tries what is away.
func (l *Link) follow() {
	t := time.NewTicker(tryAway)
	defer t.Stop()
	next := time.Now()
	for {
		first := ""
		select {
		case <-l.ctx.Done():
			return
		case first = <-l.wanted:
			next = time.Time{}
		case <-t.C:
		}
		top := l.topology.Load()
		if top != nil && l.mistaken.Swap(false) {
			top = l.rediscover(top)
		}
		if top == nil || top.alone() {
			continue
		}
		if !time.Now().Before(next) {
			top = l.renew(l.ctx, first)
			next = time.Now().Add(lookEvery)
		}
		for _, s := range top.Shards {
			if !s.Up() {
				next = minTime(next, time.Now().Add(lookSoon))
			}
			if s.Away() {
				l.tryAgain(s)
			}
		}
		if top.unserved() {
			next = minTime(next, time.Now().Add(lookSoon))
		}
	}
}

// tryAgain finds out whether a server can be connected to again.
func (l *Link) tryAgain(s *Shard) {
	ctx, cancel := context.WithTimeout(l.ctx, lookWait)
	defer cancel()
	if c, err := l.open(ctx, s, nil); err == nil {
		_ = c.Close()
		s.away.Store(nil)
	}
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
