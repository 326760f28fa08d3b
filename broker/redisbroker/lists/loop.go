package lists

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

const (
	// lookEvery is when marks are read although nothing was missed, and so lists of users
	// who stay are used; well before lastingKept is over.
	lookEvery = 12 * time.Hour
	// lookAgain is how long after marks could not be read they are tried again.
	lookAgain = 250 * time.Millisecond
)

// changeSource adds the name ARGV[2] to the list KEYS[1] if ARGV[1] is 'add', unless that
// has ARGV[3] others already (-1), else it removes it. Then it publishes ARGV[5] on the
// channel ARGV[4]. A list lives for ARGV[6] ms, and so does its partition's mark KEYS[2],
// which the channel ARGV[7] hears of when it is new. It returns how many nodes it went to.
const changeSource = `#!lua
local list, mark, name = KEYS[1], KEYS[2], ARGV[2]
if ARGV[1] == 'add' then
  if redis.call('SISMEMBER', list, name) == 0 and redis.call('SCARD', list) >= tonumber(ARGV[3]) then return -1 end
  redis.call('SADD', list, name)
  redis.call('PEXPIRE', list, ARGV[6])
  if not redis.call('SET', mark, '', 'PX', ARGV[6], 'GET') then redis.call('PUBLISH', ARGV[7], '') end
else
  redis.call('SREM', list, name)
end
return redis.call('PUBLISH', ARGV[4], ARGV[5])`

// listFull is what changeSource returns for a list without room.
const listFull = -1

var changeScript = redis.NewScript(changeSource)

// run is the goroutine of the lists.
func (l *Lists) run() {
	defer l.line.HangUp()
	all := time.NewTicker(lookEvery)
	defer all.Stop()
	var again <-chan time.Time
	for {
		for more := true; more && l.link.Context().Err() == nil; {
			more = l.turn()
		}
		if l.failed != 0 && again == nil {
			again = time.After(lookAgain)
		}
		select {
		case <-l.link.Context().Done():
			l.refuseAll()
			return
		case <-again:
			again = nil
			failed := l.failed
			l.failed = 0
			l.look(failed)
		case <-all.C:
			l.look(everyPartition)
		case <-l.wake:
		}
	}
}

const everyPartition = 1<<link.Partitions - 1

// turn is one round trip. It says whether there is more to do now.
func (l *Lists) turn() (more bool) {
	w := l.take()
	if w == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(l.link.Context(), link.AnswerTimeout)
	defer cancel()
	_, err := l.line.Exchange(ctx, func(pipe redis.Pipeliner) { w.send(ctx, pipe, l.link) })
	w.settle(l, err)
	return l.waiting()
}

// work is what goes to Redis in one round trip.
type work struct {
	calls   []*call
	reads   []*redis.StringSliceCmd // of all calls' topics
	changes []*redis.Cmd

	due      uint64
	sessions [link.Partitions]int // of the subscriber, when the marks were asked for
	heard    [link.Partitions]int
	marks    [link.Partitions]*redis.IntCmd
}

func (l *Lists) waiting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) > 0 || l.due != 0
}

// take takes the next work; nil: there is none.
func (l *Lists) take() *work {
	w := &work{}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 && l.due == 0 {
		return nil
	}
	if l.due != 0 {
		w.due, w.heard = l.due, l.heard
		l.due = 0
		for p, topic := range l.topics { // after due was taken: what comes now sets it again
			w.sessions[p] = l.subscriber.Listening(topic)
		}
	}
	n := 0
	for cost := 0; n < len(l.queue) && (n == 0 || cost < link.PipelineAtOnce); n++ {
		cost += len(l.queue[n].topics) + 1
		if !l.queue[n].gone.Load() {
			w.calls = append(w.calls, l.queue[n])
		}
	}
	l.queue = slices.Delete(l.queue, 0, n)
	return w
}

// send adds the commands to a pipeline. Those that put off a list's end are refused by a
// server that is the master no more, whose lists may be old; so are the proofs.
func (w *work) send(ctx context.Context, pipe redis.Pipeliner, l *link.Link) {
	k := l.Keys()
	w.reads, w.changes = nil, nil
	for _, c := range w.calls {
		if c.change != nil {
			w.changes = append(w.changes, sendChange(ctx, pipe, k, c.change))
			continue
		}
		for _, t := range c.topics {
			w.reads = append(w.reads, pipe.SMembers(ctx, k.Lasting(t)))
			pipe.PExpire(ctx, k.Lasting(t), broker.LastingKept)
			pipe.PExpire(ctx, k.LastingMark(link.TopicPartition(t)), broker.LastingKept)
		}
	}
	if w.due == 0 {
		return
	}
	for p := range link.Partitions {
		if w.due&(1<<p) != 0 {
			l.Prove(ctx, pipe, p)
			w.marks[p] = pipe.Exists(ctx, k.LastingMark(p))
		}
	}
}

func sendChange(ctx context.Context, pipe redis.Pipeliner, k *link.Keys, c *broker.LastingChange) *redis.Cmd {
	op, p := "add", link.TopicPartition(c.Topic)
	if c.Remove {
		op = "remove"
	}
	return changeScript.Eval(ctx, pipe, []string{k.Lasting(c.Topic), k.LastingMark(p)},
		op, c.Name, c.Most, k.Channel(c.Topic), c.Payload, broker.LastingKept.Milliseconds(), k.LastingChannel(p))
}

// settle hands out what Redis answered; err says that nothing it answered counts.
func (w *work) settle(l *Lists, err error) {
	for _, c := range w.calls {
		failed := err
		if failed == nil {
			failed = w.outcome(c, l.line)
		}
		if failed != nil && !errors.Is(failed, broker.ErrFull) {
			l.link.Log().Warn("lists "+link.Cause(failed), "redis could not read or change lasting subscriptions", "key", "redis", "err", failed)
			failed = link.Unavailable(failed)
		}
		c.settle(failed)
	}
	if w.due != 0 {
		w.learn(l, err)
	}
}

// outcome takes the answers to a call, in the order of calls.
func (w *work) outcome(c *call, line *link.Line) (err error) {
	if c.change != nil {
		cmd := w.changes[0]
		w.changes = w.changes[1:]
		if c.nodes, err = cmd.Int(); err == nil && c.nodes == listFull {
			err = broker.ErrFull
		}
		if wrong := line.Wrong(link.TopicPartition(c.change.Topic)); wrong != nil {
			err = wrong
		}
		return err
	}
	n := len(c.topics)
	reads := w.reads[:n]
	w.reads = w.reads[n:]
	c.lists = make([][]string, n)
	for i, cmd := range reads {
		if c.lists[i], err = cmd.Result(); err == nil {
			err = line.Wrong(link.TopicPartition(c.topics[i]))
		}
		if err != nil {
			return err
		}
		slices.Sort(c.lists[i])
	}
	return nil
}

// learn notes which partitions have no lists, and says that lists may have changed, when
// all is known that is to be. What could not be read is asked again.
func (w *work) learn(l *Lists, err error) {
	l.mu.Lock()
	failed := uint64(0)
	for p, cmd := range w.marks {
		if cmd == nil {
			continue
		}
		l.none[p] = 0
		switch {
		case err != nil || cmd.Err() != nil || l.line.Wrong(p) != nil:
			failed |= 1 << p
		case cmd.Val() == 0 && l.heard[p] == w.heard[p]:
			l.none[p] = w.sessions[p]
		}
	}
	known := l.due == 0
	l.mu.Unlock()
	l.failed |= failed
	if known && failed != w.due && l.watch != nil {
		l.watch()
	}
}
