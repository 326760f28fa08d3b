package seats

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

const (
	beatEvery = time.Second
	// partingWait bounds the last commands of a node that ends.
	partingWait = 500 * time.Millisecond
	// lostAtOnce bounds the lost seats of one answer.
	lostAtOnce = 500
)

// beat keeps this node counted, if it is time; false: it is not counted.
func (s *Seats) beat() bool {
	s.mu.Lock()
	live, nudged := s.live && s.epoch > 0, s.nudged
	s.nudged = 0
	s.mu.Unlock()
	if !live {
		return s.begin()
	}
	began := time.Now()
	due := began.Sub(s.beaten) >= beatEvery
	if due {
		s.beats++
		nudged |= s.suspected()
	} else if nudged == 0 && began.Before(s.expires) {
		return true
	}
	silent, err := s.announce(due, nudged)
	if err == nil && len(silent) > 0 {
		err = s.bury(silent)
	}
	if err != nil {
		s.failed(err)
		return false
	}
	if due { // what comes in between does not put this off
		s.beaten = began
		s.renewSome()
	}
	return true
}

// suspected are the partitions where seats may have been lost without a word: one
// after the other, and all while messages are not known to arrive.
func (s *Seats) suspected() uint64 {
	if !s.link.Up() {
		return 1<<link.Partitions - 1
	}
	return 1 << s.turn()
}

// turn is the partition whose turn it is with this beat.
func (s *Seats) turn() int { return s.beats % link.Partitions }

// announce renews the lease, and the name in the partition whose turn it is, takes
// what was lost in some partitions and evicts it, in one round trip. It returns the
// names of nodes that were silent too long. What an error loses is found again, as
// the node then writes all its seats.
func (s *Seats) announce(due bool, nudged uint64) (silent []string, err error) {
	ctx, name := s.link.Context(), s.name(s.epoch)
	began := time.Now()
	var lease *redis.Cmd
	var lists [link.Partitions]*redis.StringSliceCmd
	_, err = s.exchange(ctx, func(pipe redis.Pipeliner) {
		lease = leaseScript.EvalSha(ctx, pipe, []string{s.link.Keys().Leases()}, name, "")
		if due {
			nodeScript.EvalSha(ctx, pipe, []string{s.keys[s.turn()].Nodes}, name, "", "")
		}
		for p := range lists {
			if nudged>>p&1 == 1 {
				lists[p] = pipe.LPopCount(ctx, s.keys[p].Lost+name, lostAtOnce)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	for p, list := range lists {
		if list != nil {
			s.evictAll(p, list.Val())
		}
	}
	answer, err := lease.StringSlice()
	if err != nil || len(answer) == 0 {
		return nil, err
	}
	left, err := strconv.ParseInt(answer[0], 10, 64)
	s.expires = began.Add(time.Duration(left) * time.Microsecond)
	return answer[1:], err
}

// evictAll takes connections as the script wrote them.
func (s *Seats) evictAll(p int, lost []string) {
	for _, l := range lost {
		connection, key, _ := strings.Cut(l, "/")
		// What was evicted may have been written again meanwhile: it leaves for good.
		if s.leave(strings.TrimPrefix(key, s.keys[p].Users), connection) {
			s.evict(connection)
		}
	}
	if len(lost) == lostAtOnce {
		s.nudge(p)
	}
}

// bury makes the seats of names void. Others may do the same at the same time. The
// leases go last, so that it is repeated if this node fails on the way.
func (s *Seats) bury(names []string) error {
	members := make([]any, len(names))
	for i, n := range names {
		members[i] = n
	}
	return s.strike(s.link.Context(), members...)
}

func (s *Seats) strike(ctx context.Context, names ...any) error {
	_, err := s.exchange(ctx, func(pipe redis.Pipeliner) {
		for p := range s.keys {
			pipe.ZRem(ctx, s.keys[p].Nodes, names...)
		}
	})
	if err != nil {
		return err
	}
	return s.dropLeases(ctx, names...)
}

func (s *Seats) dropLeases(ctx context.Context, names ...any) error {
	_, err := s.exchange(ctx, func(pipe redis.Pipeliner) { pipe.ZRem(ctx, s.link.Keys().Leases(), names...) })
	return err
}

// part gives all seats back.
func (s *Seats) part() {
	s.lost(broker.ErrClosed)
	if s.epoch == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), partingWait)
	defer cancel()
	if err := s.strike(ctx, s.name(s.epoch)); err != nil {
		s.link.Slog().Debug("seats are left to expire", "err", err)
	}
}

// begin has this node counted under a new name, and all seats written. Who takes one
// before live is set is in the table by then; who comes later is queued.
func (s *Seats) begin() bool {
	if err := s.register(s.name(s.epoch+1), s.name(s.epoch)); err != nil {
		s.failed(err)
		return false
	}
	s.epoch++
	s.mu.Lock()
	s.live = true
	s.mu.Unlock()
	all := s.table.Names()
	s.mu.Lock()
	s.unsure = append(s.unsure, all...)
	s.mu.Unlock()
	if s.epoch > 1 {
		s.link.Slog().Info("connections of users are counted over all nodes again", "users", len(all))
	}
	return true
}

// register brings a name into every partition, in place of a former one. It has a
// lease before it stands anywhere, and the former one has its lease until it stands
// nowhere: a node that dies on the way leaves none that others would not bury.
func (s *Seats) register(name, former string) error {
	ctx, began := s.link.Context(), time.Now()
	if err := s.line.CheckLayout(ctx); err != nil {
		return err
	}
	if err := s.line.Greet(ctx); err != nil { // after SCRIPT FLUSH it lacks the scripts
		return err
	}
	if _, err := s.exchange(ctx, func(pipe redis.Pipeliner) {
		leaseScript.EvalSha(ctx, pipe, []string{s.link.Keys().Leases()}, name, "new")
	}); err != nil {
		return err
	}
	if _, err := s.exchange(ctx, func(pipe redis.Pipeliner) {
		for p := range s.keys {
			nodeScript.EvalSha(ctx, pipe, []string{s.keys[p].Nodes}, name, "new", former)
		}
	}); err != nil {
		return err
	}
	s.beaten, s.expires = began, began // look at the others' leases at once
	return s.dropLeases(ctx, former)
}
