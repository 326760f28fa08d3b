package redisbroker

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker/internal/seattable"
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
	s.client = s.link.connect()
	defer func() { _ = s.client.Close() }()
	t := time.NewTicker(seatsTry)
	defer t.Stop()
	for {
		for more := true; more; {
			more = s.beat() && s.flush()
		}
		select {
		case <-s.link.ctx.Done():
			s.part()
			return
		case <-t.C:
		case <-s.wake:
		}
	}
}

// failed is lost after a command of the loop. What it was answered may ask for
// another connection.
func (s *Seats) failed(err error) {
	s.lost(err)
	if judge(err) == elsewhere {
		_ = s.client.Close()
		s.client = s.link.connect()
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
	s.unsure = append(s.unsure, s.renew[:n]...)
	s.mu.Unlock()
	s.renew = s.renew[n:]
}

// flush sends what waits, at most one round trip's worth; true: there is more.
func (s *Seats) flush() bool {
	calls, users, more := s.next()
	if len(calls)+len(users) == 0 {
		return false
	}
	ctx, pipe := s.link.ctx, s.client.Pipeline()
	for _, c := range calls {
		if c.done == nil {
			pipe.ZRem(ctx, s.keys[partitionOf(c.user)].users+c.user, s.name(s.epoch)+"/"+c.connection)
			continue
		}
		var held []seattable.Seat
		if more || len(users) > 0 { // this user's may not be written yet
			held = s.table.Of(c.user)
		}
		s.ask(ctx, pipe, c.user, c.connection, held)
	}
	for _, user := range users {
		s.ask(ctx, pipe, user, "", s.table.Of(user))
	}
	answers, err := pipe.Exec(ctx)
	for i, c := range calls {
		s.answer(c, answers[i], err)
	}
	if err != nil {
		s.failed(err)
	}
	return err == nil && more
}

// next takes what to send: calls first, then users.
func (s *Seats) next() (calls []*seatCall, users []string, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.queue), pipelineAtOnce)
	calls, s.queue = s.queue[:n:n], s.queue[n:]
	n = min(len(s.unsure), pipelineAtOnce-n)
	users, s.unsure = s.unsure[:n:n], s.unsure[n:]
	return calls, users, len(s.queue)+len(s.unsure) > 0
}

func (s *Seats) ask(ctx context.Context, to redis.Scripter, user, connection string, held []seattable.Seat) {
	rules, policy := s.table.Rules(), config.PolicyReject
	if rules.Replace {
		policy = config.PolicyReplace
	}
	if connection == "" { // a limit that was lowered ends nobody before a newcomer is there
		rules.Most = rules.Known
	}
	k := &s.keys[partitionOf(user)]
	args := append(make([]any, 0, 6+2*len(held)), s.name(s.epoch), connection, rules.Most, policy, k.lost, k.told)
	for _, h := range held {
		args = append(args, h.Connection, h.Joined)
	}
	seatScript.EvalSha(ctx, to, []string{k.nodes, k.users + user}, args...)
}

// answer takes Redis' to one call of a batch. The seat is in the table before the
// caller hears of it, and can leave.
func (s *Seats) answer(c *seatCall, answer redis.Cmder, err error) {
	if c.done == nil {
		return
	}
	if err != nil {
		c.settle(givenUp)
		return
	}
	joined, _ := answer.(*redis.Cmd).Int64() // err is also each command's
	if joined == 0 {
		c.settle(refused)
	} else if c.verdict.CompareAndSwap(undecided, seated) {
		s.table.Add(c.user, seattable.Seat{Connection: c.connection, Joined: joined})
		close(c.done)
	}
}
