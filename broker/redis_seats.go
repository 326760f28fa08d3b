package broker

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/config"
)

const (
	beatEvery = time.Second
	// beatAway is how often a Redis that is away is tried.
	beatAway = 250 * time.Millisecond
	// seatWait is how long a Take waits for Redis.
	seatWait = time.Second
	// renewBeats is in how many beats all seats are written again, which keeps
	// them from expiring: well before seatsKept is over.
	renewBeats = 600
	// partingWait bounds the last command of a node that ends.
	partingWait = 500 * time.Millisecond
)

// RedisSeats are the seats of all nodes, kept in Redis.
//
// A node is known there by a name that it keeps alive by beating. When it cannot
// be sure of what Redis holds (a command failed, it was silent too long, Redis is
// empty), it starts over under a new name and writes the seats of its table: with
// the old name all that was written under it is void, so nothing has to be
// remembered of what could not be given back meanwhile.
//
// One goroutine talks to Redis, so that what it writes of the table cannot
// overtake a connection's leaving. For Redis Cluster there would be several of
// these, each with a tag of its own and some of the users by their hash.
type RedisSeats struct {
	redis *Redis
	node  string
	table *seatTable
	base  string // of all keys
	evict func(connection string)

	mu     sync.Mutex // guards all below
	live   bool       // Redis counts this node, as far as is known, or is about to
	nudged bool       // a beat is wanted now
	queue  []*seatCall
	unsure []string // users whose seats are to be written
	wake   chan struct{}

	// Of the loop only.
	client *redis.Client
	epoch  uint64 // of the name
	beaten time.Time
	renew  []string // users whose seats were not written again yet in this round
	atOnce int      // of these, with each beat
}

// seatCall is a Take or Leave on its way.
type seatCall struct {
	user, connection string
	verdict          atomic.Int32
	done             chan struct{} // of a Take; nil: Leave
}

const (
	undecided = iota
	seated
	refused
	givenUp // the caller waits no longer, or Redis did not answer
)

// Why what Redis holds is not known any more.
var (
	errNoSeat    = errors.New("no answer in time")
	errTooManyGo = errors.New("too many connections leave at once")
)

// NewRedisSeats returns seats that are counted through b, whose Close ends them.
// Their Start must be called before that of b.
func NewRedisSeats(b *Redis, nodeID string, l config.Limits) *RedisSeats {
	return &RedisSeats{
		redis: b, node: nodeID, table: newSeatTable(l), base: b.keys + "seats:{0}:",
		live: true, wake: make(chan struct{}, 1),
	}
}

// seatsTopic and a node's id: where it hears that connections lost their seats.
const seatsTopic = "seats:"

// Start implements Seats.
func (s *RedisSeats) Start(evict func(connection string)) {
	s.evict = evict
	s.redis.subscriber.listen(seatsTopic+s.node, func(string) { s.nudge() })
	s.redis.work.Go(func() { s.redis.keep("seats at Redis", s.run) })
}

// Take implements Seats.
func (s *RedisSeats) Take(user, connection string) bool {
	c := &seatCall{user: user, connection: connection, done: make(chan struct{})}
	if s.add(c) {
		t := time.NewTimer(seatWait)
		defer t.Stop()
		select {
		case <-c.done:
		case <-t.C:
			if c.settle(givenUp) {
				s.lost(errNoSeat)
			}
			<-c.done // about to be closed
		}
		if v := c.verdict.Load(); v != givenUp {
			return v == seated
		}
	}
	in := s.table.take(user, connection, func(old string) {
		s.giveBack(user, old)
		s.evict(old)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live { // again: the table was written before this came into it
		s.unsure = append(s.unsure, user)
	}
	return in
}

// settle says whether it was the first to.
func (c *seatCall) settle(verdict int32) bool {
	if c.done == nil || !c.verdict.CompareAndSwap(undecided, verdict) {
		return false
	}
	close(c.done)
	return true
}

// Leave implements Seats.
func (s *RedisSeats) Leave(user, connection string) { s.leave(user, connection) }

// leave says whether the connection had a seat.
func (s *RedisSeats) leave(user, connection string) bool {
	had := s.table.remove(user, connection)
	if had {
		s.giveBack(user, connection)
	}
	return had
}

// giveBack is called for a seat that is not in the table any more.
func (s *RedisSeats) giveBack(user, connection string) {
	if !s.add(&seatCall{user: user, connection: connection}) {
		s.lost(errTooManyGo) // unless it is lost already
	}
}

// add queues a call; false: Redis is away, or too much waits for it. What is left
// while it is away needs no command: the node will be known by another name.
func (s *RedisSeats) add(c *seatCall) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live || len(s.queue) >= MaxPending {
		return false
	}
	s.queue = append(s.queue, c)
	s.wakeLocked()
	return true
}

func (s *RedisSeats) wakeLocked() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// nudge is called when a connection of this node lost its seat.
func (s *RedisSeats) nudge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nudged = true
	s.wakeLocked()
}

// lost notes that what Redis holds is not known any more.
func (s *RedisSeats) lost(why error) {
	s.mu.Lock()
	was, queue := s.live, s.queue
	s.live, s.queue, s.unsure = false, nil, nil
	s.mu.Unlock()
	for _, c := range queue {
		c.settle(givenUp)
	}
	if was && s.redis.ctx.Err() == nil {
		s.redis.log.Info("connections of users are counted on this node alone", "err", why)
	}
}

// failed is lost after a command of the loop. What it was answered may ask for
// another connection.
func (s *RedisSeats) failed(err error) {
	s.lost(err)
	if judge(err) == elsewhere {
		_ = s.client.Close()
		s.client = s.redis.connect()
	}
}

func (s *RedisSeats) run() {
	s.client = s.redis.connect()
	defer func() { _ = s.client.Close() }()
	t := time.NewTicker(beatAway)
	defer t.Stop()
	for {
		for more := true; more; {
			more = s.beat() && s.flush()
		}
		select {
		case <-s.redis.ctx.Done():
			s.part()
			return
		case <-t.C:
		case <-s.wake:
		}
	}
}

// part gives all seats back in one step.
func (s *RedisSeats) part() {
	s.lost(ErrClosed)
	if s.epoch == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), partingWait)
	defer cancel()
	if err := s.client.ZRem(ctx, s.base+"nodes", s.name(s.epoch)).Err(); err != nil {
		s.redis.log.Debug("seats are left to expire", "err", err)
	}
}

func (s *RedisSeats) name(epoch uint64) string {
	return s.node + ":" + strconv.FormatUint(epoch, 10)
}

// beat keeps this node counted, if it is time; false: it is not counted.
func (s *RedisSeats) beat() bool {
	s.mu.Lock()
	live, nudged := s.live && s.epoch > 0, s.nudged
	s.nudged = false
	s.mu.Unlock()
	due := time.Since(s.beaten) >= beatEvery
	if live && !nudged && !due {
		return true
	}
	began := time.Now()
	evicted, err := s.announce(live)
	if err != nil {
		s.failed(err)
		return false
	}
	if !live {
		s.epoch++
		s.begin()
	}
	s.evictAll(evicted)
	if due { // a nudge in between does not put this off
		s.beaten = began
		s.renewSome()
	}
	return true
}

// announce beats under the node's name, or a new one, and returns whose seats are
// lost.
func (s *RedisSeats) announce(live bool) (evicted []string, err error) {
	ctx, client, keys := s.redis.ctx, s.client, []string{s.base + "nodes"}
	if live {
		return beatScript.Run(ctx, client, keys, s.name(s.epoch), "").StringSlice()
	}
	if err := seatScript.Load(ctx, client).Err(); err != nil {
		return nil, err
	}
	return beatScript.Run(ctx, client, keys, s.name(s.epoch+1), s.name(s.epoch)).StringSlice()
}

// evictAll takes connections as the script wrote them.
func (s *RedisSeats) evictAll(evicted []string) {
	for _, e := range evicted {
		connection, key, _ := strings.Cut(e, "/")
		// What was evicted may have been written again meanwhile: it leaves for good.
		if s.leave(strings.TrimPrefix(key, s.key("")), connection) {
			s.evict(connection)
		}
	}
}

// begin has all seats written under the new name. Who takes one before live is
// set is in the table by then; who comes later is queued.
func (s *RedisSeats) begin() {
	s.mu.Lock()
	s.live = true
	s.mu.Unlock()
	all := s.table.names()
	s.mu.Lock()
	s.unsure = append(s.unsure, all...)
	s.mu.Unlock()
	if s.epoch > 1 {
		s.redis.log.Info("connections of users are counted over all nodes again", "users", len(all))
	}
}

// renewSome has a part of the seats written again.
func (s *RedisSeats) renewSome() {
	if len(s.renew) == 0 {
		s.renew = s.table.names()
		s.atOnce = len(s.renew)/renewBeats + 1
	}
	n := min(len(s.renew), s.atOnce)
	s.mu.Lock()
	s.unsure = append(s.unsure, s.renew[:n]...)
	s.mu.Unlock()
	s.renew = s.renew[n:]
}

// flush sends what waits, at most one round trip's worth; true: there is more.
func (s *RedisSeats) flush() bool {
	calls, users, more := s.next()
	if len(calls)+len(users) == 0 {
		return false
	}
	ctx, pipe := s.redis.ctx, s.client.Pipeline()
	for _, c := range calls {
		if c.done == nil {
			pipe.ZRem(ctx, s.key(c.user), s.name(s.epoch)+"/"+c.connection)
			continue
		}
		var held []seat
		if more || len(users) > 0 { // this user's may not be written yet
			held = s.table.of(c.user)
		}
		s.ask(ctx, pipe, c.user, c.connection, held)
	}
	for _, user := range users {
		s.ask(ctx, pipe, user, "", s.table.of(user))
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
func (s *RedisSeats) next() (calls []*seatCall, users []string, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.queue), pipelineAtOnce)
	calls, s.queue = s.queue[:n:n], s.queue[n:]
	n = min(len(s.unsure), pipelineAtOnce-n)
	users, s.unsure = s.unsure[:n:n], s.unsure[n:]
	return calls, users, len(s.queue)+len(s.unsure) > 0
}

func (s *RedisSeats) key(user string) string { return s.base + "user:" + user }

func (s *RedisSeats) ask(ctx context.Context, to redis.Scripter, user, connection string, held []seat) {
	policy := config.PolicyReject
	if s.table.replace {
		policy = config.PolicyReplace
	}
	args := append(make([]any, 0, 5+2*len(held)),
		s.name(s.epoch), connection, s.table.most, policy, s.redis.channels+seatsTopic)
	for _, h := range held {
		args = append(args, h.connection, h.joined)
	}
	seatScript.EvalSha(ctx, to, []string{s.base + "nodes", s.key(user)}, args...)
}

// answer takes Redis' to one call of a batch. The seat is in the table before the
// caller hears of it, and can leave.
func (s *RedisSeats) answer(c *seatCall, answer redis.Cmder, err error) {
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
		s.table.add(c.user, seat{c.connection, joined})
		close(c.done)
	}
}
