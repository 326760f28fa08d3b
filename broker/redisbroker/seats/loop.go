package seats

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker/internal/seattable"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/config"
)

const (
	// seatsTry is how often the loop looks whether anything is due, or tries a Redis
	// that is away.
	seatsTry = 250 * time.Millisecond
	// renewBeats is in how many beats all seats are written again, which keeps
	// them from expiring: well before seatsKept is over.
	renewBeats = 600
)

func (s *Seats) run() {
	defer s.line.HangUp()
	t := time.NewTicker(seatsTry)
	defer t.Stop()
	for {
		for more := true; more; {
			more = s.beat() && s.flush()
		}
		select {
		case <-s.link.Context().Done():
			s.part()
			return
		case <-t.C:
		case <-s.wake:
		}
	}
}

// renewSome has a part of the seats written again.
func (s *Seats) renewSome() {
	if len(s.renew) == 0 {
		s.renew = s.table.Names()
		s.atOnce = len(s.renew)/renewBeats + 1
	}
	n := min(len(s.renew), s.atOnce)
	s.mu.Lock()
	for _, user := range s.renew[:n] {
		if s.live&bit(user) != 0 {
			s.unsure = append(s.unsure, user)
		}
	}
	s.mu.Unlock()
	s.renew = s.renew[n:]
}

// flush sends what waits, at most one round trip's worth; true: there is more.
func (s *Seats) flush() bool {
	calls, users, more := s.next()
	if len(calls)+len(users) == 0 {
		return false
	}
	cmds, failed, err := s.exchange(s.link.Context(), func(pipe redis.Pipeliner) {
		for _, c := range calls {
			s.send(pipe, c, more || len(users) > 0)
		}
		for _, user := range users {
			s.ask(pipe, user, "", s.table.Of(user))
		}
	})
	for i, c := range calls {
		if failed&bit(c.user) != 0 {
			c.settle(givenUp)
			continue
		}
		s.answer(c, cmds[i])
	}
	if failed != 0 {
		s.lost(failed, err)
	}
	return more && s.counted() != 0
}

// exchange is one round trip, in which no command may fail: partitions where one did are
// returned, and why. An absent key is no failure.
func (s *Seats) exchange(ctx context.Context, fill func(redis.Pipeliner)) (cmds []redis.Cmder, failed uint64, err error) {
	cmds, err = s.line.Exchange(ctx, fill)
	if err != nil {
		return nil, all, err
	}
	failed = s.line.FailedIn()
	for _, c := range cmds {
		if wrong := c.Err(); wrong != nil && !errors.Is(wrong, redis.Nil) {
			failed |= link.PartitionsOf(c)
			err = wrong
		}
	}
	return cmds, failed, err
}

// send adds a call to a pipeline. The seats of its user may not be written yet where
// others wait to be.
func (s *Seats) send(pipe redis.Pipeliner, c *call, othersWait bool) {
	if c.done == nil {
		pipe.ZRem(s.link.Context(), s.keys[link.PartitionOf(c.user)].Users+c.user, s.names.at(link.PartitionOf(c.user))+"/"+c.connection)
		return
	}
	var held []seattable.Seat
	if othersWait {
		held = s.table.Of(c.user)
	}
	s.ask(pipe, c.user, c.connection, held)
}

// next takes what to send: calls first, then users.
func (s *Seats) next() (calls []*call, users []string, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.queue), link.PipelineAtOnce)
	calls, s.queue = s.queue[:n:n], s.queue[n:]
	n = min(len(s.unsure), link.PipelineAtOnce-n)
	users, s.unsure = s.unsure[:n:n], s.unsure[n:]
	return calls, users, len(s.queue)+len(s.unsure) > 0
}

func (s *Seats) ask(to redis.Scripter, user, connection string, held []seattable.Seat) {
	rules, policy := s.table.Rules(), config.PolicyReject
	if rules.Replace {
		policy = config.PolicyReplace
	}
	if connection == "" { // a limit that was lowered ends nobody before a newcomer is there
		rules.Most = rules.Known
	}
	k := &s.keys[link.PartitionOf(user)]
	args := append(make([]any, 0, 6+2*len(held)), s.names.at(link.PartitionOf(user)), connection, rules.Most, policy, k.Lost, k.Told)
	for _, h := range held {
		args = append(args, h.Connection, h.Joined)
	}
	seatScript.EvalSha(s.link.Context(), to, []string{k.Nodes, k.Users + user}, args...)
}

// answer takes Redis' to one call of a batch. The seat is in the table before the
// caller hears of it, and can leave.
func (s *Seats) answer(c *call, answer redis.Cmder) {
	if c.done == nil {
		return
	}
	joined, _ := answer.(*redis.Cmd).Int64() // none has an error
	if joined == 0 {
		c.settle(refused)
	} else if c.verdict.CompareAndSwap(undecided, seated) {
		s.table.Add(c.user, seattable.Seat{Connection: c.connection, Joined: joined})
		close(c.done)
	}
}
