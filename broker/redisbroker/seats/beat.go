package seats

import (
	"context"
	"errors"
	"math/bits"
	"slices"
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

// beat keeps this node counted, if it is time; false: it is counted nowhere.
func (s *Seats) beat() bool {
	s.mu.Lock()
	live, nudged := s.live, s.nudged
	s.nudged = 0
	s.mu.Unlock()
	began := time.Now()
	if absent := ^live | s.names.unnamed(); absent != 0 && began.Sub(s.tried) >= seatsTry {
		s.tried = began
		s.begin(absent)
		live = s.counted()
	}
	due := began.Sub(s.beaten) >= beatEvery
	if due {
		s.beats++
		nudged |= s.suspected()
	} else if nudged == 0 && began.Before(s.expires) {
		return live != 0
	}
	if live == 0 {
		return false
	}
	if silent := s.announce(due, nudged&live, live); len(silent) > 0 {
		s.bury(silent)
	}
	if due { // what comes in between does not put this off
		s.beaten = began
		s.renewSome()
	}
	return s.counted() != 0
}

// counted are the partitions where Redis counts this node, as far as is known, as bits.
func (s *Seats) counted() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live
}

// suspected are the partitions where seats may have been lost without a word: one
// after the other, and those whose messages are not known to arrive.
func (s *Seats) suspected() uint64 {
	partitions := uint64(1) << s.turn()
	for p := range link.Partitions {
		if !s.link.UpFor(p) {
			partitions |= 1 << p
		}
	}
	return partitions
}

// turn is the partition whose turn it is with this beat.
func (s *Seats) turn() int { return s.beats % link.Partitions }

// announce renews the leases, and the name in the partition whose turn it is, takes
// what was lost in some partitions and evicts it, in one round trip. It returns the
// names of nodes that were silent too long. What an error loses is found again, as
// the node then writes all its seats.
func (s *Seats) announce(due bool, nudged, live uint64) (silent []string) {
	ctx, began := s.link.Context(), time.Now()
	numbers := s.names.used(live)
	leases := make([]*redis.Cmd, len(numbers))
	var lists [link.Partitions]*redis.StringSliceCmd
	_, failed, err := s.exchange(ctx, func(pipe redis.Pipeliner) {
		for i, number := range numbers {
			leases[i] = leaseScript.EvalSha(ctx, pipe, s.leases(), s.names.of(number), "")
		}
		if p := s.turn(); due && live>>p&1 == 1 {
			nodeScript.EvalSha(ctx, pipe, []string{s.keys[p].Nodes}, s.names.at(p), "", "")
		}
		for p := range lists {
			if nudged>>p&1 == 1 {
				lists[p] = pipe.LPopCount(ctx, s.keys[p].Lost+s.names.at(p), lostAtOnce)
			}
		}
	})
	s.expires = began.Add(beatEvery)
	if failed == all {
		s.lost(all, err)
		return nil
	}
	for p, list := range lists {
		if list != nil && failed>>p&1 == 0 {
			s.evictAll(p, list.Val())
		}
	}
	for i, number := range numbers {
		if silence := leases[i].Err(); isSilence(silence) {
			failed |= s.names.having(number)
			if err = silence; number == s.names.next {
				s.names.next = 0
			}
		}
	}
	if failed != 0 {
		s.lost(failed, err)
	}
	answer, err := leases[0].StringSlice()
	if err != nil || len(answer) == 0 {
		return nil // the leases' server is away
	}
	if left, err := strconv.ParseInt(answer[0], 10, 64); err == nil {
		s.expires = began.Add(time.Duration(left) * time.Microsecond)
	}
	return answer[1:]
}

// leases are where the leases of all nodes lie, and when anybody beat last.
func (s *Seats) leases() []string {
	return []string{s.link.Keys().Leases(), s.link.Keys().LeasesClock()}
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
// leases go last, so that it is repeated if this node fails on the way, or a server is away.
func (s *Seats) bury(names []string) {
	members := make([]any, len(names))
	for i, n := range names {
		members[i] = n
	}
	if err := s.strike(s.link.Context(), members...); err != nil {
		s.link.Log().Warn("seats "+link.Cause(err), "seats of nodes that are gone stay for now: redis did not release them", "key", "redis", "err", err)
	}
}

func (s *Seats) strike(ctx context.Context, names ...any) error {
	_, _, err := s.exchange(ctx, func(pipe redis.Pipeliner) {
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
	_, _, err := s.exchange(ctx, func(pipe redis.Pipeliner) { pipe.ZRem(ctx, s.link.Keys().Leases(), names...) })
	return err
}

// part gives all seats back.
func (s *Seats) part() {
	numbers := s.names.used(all)
	s.lost(all, broker.ErrClosed)
	if len(numbers) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), partingWait)
	defer cancel()
	var members []any
	for _, number := range numbers {
		members = append(members, s.names.of(number))
	}
	if err := s.strike(ctx, members...); err != nil {
		s.link.Slog().Debug("seats are left to expire", "err", err)
	}
}

// begin has this node counted in partitions under the next name, and all seats there written.
// Who takes one before live is set is in the table by then; who comes later is queued.
func (s *Seats) begin(absent uint64) {
	if !s.names.fresh(absent) {
		if err := s.leaseNext(); err != nil {
			s.lost(absent, err)
			return
		}
	}
	again := s.names.unnamed() != all
	failed, err := s.register(absent)
	if failed != 0 {
		s.lost(failed, err)
	}
	begun := absent &^ failed
	if begun == 0 {
		return
	}
	gone := s.names.moved(begun)
	s.mu.Lock()
	s.live |= begun
	counted := s.live == all
	s.mu.Unlock()
	users := s.table.Names()
	users = slices.DeleteFunc(users, func(user string) bool { return begun&bit(user) == 0 })
	s.mu.Lock()
	s.unsure = append(s.unsure, users...)
	s.mu.Unlock()
	if counted {
		s.names.next = 0
	}
	if again {
		s.link.Slog().Info("connections of users are counted across all nodes again", "partitions", bits.OnesCount64(begun), "users", len(users))
	}
	if len(gone) > 0 {
		_ = s.dropLeases(s.link.Context(), gone...) // else they run out
	}
}

// leaseNext gives the next name its lease.
func (s *Seats) leaseNext() error {
	ctx, began := s.link.Context(), time.Now()
	if err := s.line.CheckLayout(ctx); errors.Is(err, link.ErrLayout) || err != nil && !s.line.Routed() {
		return err
	}
	if err := s.line.Greet(ctx); err != nil { // after SCRIPT FLUSH it lacks the scripts
		return err
	}
	s.names.last++
	if _, _, err := s.exchange(ctx, func(pipe redis.Pipeliner) {
		leaseScript.EvalSha(ctx, pipe, s.leases(), s.names.of(s.names.last), "new")
	}); err != nil {
		return err
	}
	s.names.leased()
	s.beaten, s.expires = began, began // look at the others' leases at once
	return nil
}

// register brings the next name into partitions, in place of their former ones. It has a
// lease before it stands anywhere, and a former one has its lease until it stands
// nowhere: a node that dies on the way leaves none that others would not bury.
func (s *Seats) register(partitions uint64) (failed uint64, err error) {
	ctx, name := s.link.Context(), s.names.of(s.names.next)
	_, failed, err = s.exchange(ctx, func(pipe redis.Pipeliner) {
		for p := range s.keys {
			if partitions>>p&1 == 1 {
				nodeScript.EvalSha(ctx, pipe, []string{s.keys[p].Nodes}, name, "new", s.names.at(p))
			}
		}
	})
	return failed, err
}
