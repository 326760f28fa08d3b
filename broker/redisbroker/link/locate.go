package link

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker/redisbroker/master"
)

// finder finds the server that everything goes to, see package master.
type finder interface {
	// Find says where it is now.
	Find(ctx context.Context) (address string, err error)
	// Confirm says why a server that was not there before, or not all the time, must not be
	// used.
	Confirm(ctx context.Context, address string) error
	// Doubt notes that it was not there, or not the right one.
	Doubt()
}

// locate says where a shard is to be connected to. One that is found elsewhere than before
// is left.
func (s *Shard) locate(ctx context.Context) (string, error) {
	if !s.alone {
		return s.address, nil
	}
	at, before, err := s.find(ctx)
	if err == nil && before != nil && *before != at {
		s.server.Store(nil) // that it is another one is known
		s.leave(fmt.Errorf("%w: at %s, which was at %s", errMoved, at, *before))
	}
	return at, err
}

// find says where the shard is, and where it was found before.
func (s *Shard) find(ctx context.Context) (at string, before *string, err error) {
	s.locating.Lock() // or a later answer could be followed by an earlier one
	defer s.locating.Unlock()
	at, err = s.finder.Find(ctx)
	if err == nil {
		before = s.at.Swap(&at)
	}
	return at, before, err
}

// confirm says why a server must not be used. One that was not connected to before may have
// been away for as long as another took its place, since it was located: its address was
// remembered, or to connect took long.
func (s *Shard) confirm(ctx context.Context, at, server string) error {
	if known := s.server.Load(); !s.alone || known != nil && *known == server {
		return nil
	}
	return s.finder.Confirm(ctx, at)
}

// lastAt is where the shard was found last.
func (s *Shard) lastAt() string {
	if at := s.at.Load(); at != nil {
		return *at
	}
	return s.address
}

func (s *Shard) doubt() {
	if s.alone {
		s.finder.Doubt()
	}
}

// listed is the shard that is one of the configured addresses.
func (l *Link) listed() *Shard {
	return l.newAlone(master.NewList(l.addresses, l.dial, func(address string) {
		l.rate.Warn("replicas alone", "no address is that of a master; the first replica is taken, which takes no writes",
			"key", "redis.addresses", "server", address)
	}))
}

// named is the shard that sentinels name at the configured addresses: always the same one,
// as those do not change. Call it with finding held.
func (l *Link) named() *Shard {
	if l.byName != nil {
		return l.byName
	}
	sentinels := master.NewSentinels(l.addresses, l.masterName, l.dialSentinel, sentinelReport{l}, l.guard)
	s := l.newAlone(sentinels)
	s.master = true
	l.byName = s
	l.sentinels.Store(sentinels)
	l.watched <- s
	return s
}

// dialSentinel is dial for a sentinel.
func (l *Link) dialSentinel(address string) *redis.Client {
	o := *l.options
	o.Addr, o.DB = address, 0
	o.CredentialsProviderContext = l.sentinelPassword.For(l.sentinelUser)
	o.ReadBufferSize, o.WriteBufferSize = sentinelBuffer, sentinelBuffer
	return redis.NewClient(&o)
}

// sentinelBuffer is for the few short commands that a sentinel gets.
const sentinelBuffer = 4 << 10

// watch watches the sentinels, if there are any.
func (l *Link) watch() {
	select {
	case <-l.ctx.Done():
	case s := <-l.watched:
		l.watched <- s // for after a panic
		l.sentinels.Load().Watch(l.ctx, func() { _, _ = s.locate(l.ctx) })
	}
}

// Sentinels is how many answered when they were last asked.
func (l *Link) Sentinels() int {
	if s := l.sentinels.Load(); s != nil {
		return s.Answering()
	}
	return 0
}

// sentinelReport logs what becomes of sentinels.
type sentinelReport struct{ link *Link }

func (r sentinelReport) Silent(sentinel string, err error) {
	r.link.rate.Warn("sentinel "+sentinel, "a sentinel does not answer", "key", "redis.addresses", "sentinel", sentinel, "err", err.Error())
}

func (r sentinelReport) Alone(server string, err error) {
	r.link.rate.Warn("sentinels", "the sentinels name no master; the one that is known is used until it restarts",
		"key", "redis.addresses", "server", server, "err", err.Error())
}
