package roster

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

const (
	// window is how many facts of a partition are handed out at once, and maxWindow how
	// many with those that were handed out a lease ago: names that the backend does not
	// take keep back no others.
	window    = 100
	maxWindow = 1000
	// settleAtOnce bounds the entries of one command.
	settleAtOnce = 500
)

// outbox hands out the facts of the partitions that this node owns, in their order, and
// removes those that were told.
type outbox struct {
	keeper *keeper

	mu      sync.Mutex // guards all below
	streams [Partitions]stream
}

// stream is what is known of a partition's stream.
type stream struct {
	cursor  string               // the id up to which facts were handed out; "" from the beginning
	read    bool                 // there may be more
	out     map[string]time.Time // ids of facts that were handed out, and when
	settled map[string]bool      // ids that are to be removed
	pause   time.Time            // until when none are, after a failure
}

// listen has this node woken when there are facts.
func (o *outbox) listen() {
	l := o.keeper.roster.link
	for p := range Partitions {
		read := func() { o.more(p) }
		l.Listen(p, link.OutboxTopic(p, l.Node()), func(string) { read() }, read)
	}
}

// more is called when facts were added to a partition, or may have been.
func (o *outbox) more(p int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.streams[p].read = true
	o.keeper.nudge()
}

// restart reads a partition from its beginning: what it holds is another stream, or was
// held by another node.
func (o *outbox) restart(p int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.streams[p].cursor, o.streams[p].read = "", true
}

// holds takes how many facts a partition has: more than are known here are to be read.
func (o *outbox) holds(p, facts int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &o.streams[p]
	s.read = s.read || facts > len(s.out)+len(s.settled)
}

// withdraw has nothing more told of some partitions. It returns those of which something
// may be on its way.
func (o *outbox) withdraw(gone [Partitions]bool) (open [Partitions]bool) {
	o.mu.Lock()
	for p := range o.streams {
		if gone[p] {
			open[p] = len(o.streams[p].out) > 0
			o.streams[p].out = nil
		}
	}
	o.mu.Unlock()
	if f := o.keeper.roster.watcher.Withdraw; f != nil {
		f(func(entry string) bool {
			p, _, ok := parseEntry(entry)
			return ok && gone[p]
		})
	}
	return open
}

// Settle implements broker.Outbox.
func (r *Roster) Settle(entry string) {
	if p, id, ok := parseEntry(entry); ok {
		r.keeper.outbox.settle(p, id)
	}
}

func (o *outbox) settle(p int, id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.streams[p].done(id)
	o.keeper.nudge()
}

// done has a fact removed.
func (s *stream) done(id string) {
	delete(s.out, id)
	if s.settled == nil {
		s.settled = map[string]bool{}
	}
	s.settled[id] = true
}

// due adds what is to be read.
func (o *outbox) due(all []errand) []errand {
	o.mu.Lock()
	defer o.mu.Unlock()
	slow := time.Now().Add(-o.keeper.pace.lease)
	for p := range o.streams {
		s := &o.streams[p]
		if !s.read || !o.keeper.owned.have[p] || o.keeper.roster.watcher.Tell == nil {
			continue
		}
		if n := s.room(slow); n > 0 {
			s.read = false
			all = append(all, &fetch{outbox: o, p: p, after: s.cursor, most: n})
		}
	}
	return all
}

// settling adds what is to be removed.
func (o *outbox) settling(all []errand) []errand {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for p := range o.streams {
		s := &o.streams[p]
		if len(s.settled) == 0 || now.Before(s.pause) {
			continue
		}
		e := &settling{outbox: o, p: p}
		for id := range s.settled {
			if e.ids = append(e.ids, id); len(e.ids) == settleAtOnce {
				break
			}
		}
		all = append(all, e)
	}
	return all
}

// room is how many facts may be handed out. Those from before slow do not count.
func (s *stream) room(slow time.Time) int {
	fresh := 0
	for _, handed := range s.out {
		if handed.After(slow) {
			fresh++
		}
	}
	return min(window-fresh, maxWindow-len(s.out))
}

// settling removes facts that were told.
type settling struct {
	outbox *outbox
	p      int
	ids    []string
	cmd    *redis.IntCmd
}

func (s *settling) partition() int { return s.p }

func (s *settling) send(ctx context.Context, pipe redis.Pipeliner) {
	s.cmd = pipe.XDel(ctx, s.outbox.keeper.roster.outboxKey(s.p), s.ids...)
}

func (s *settling) learn(err error) {
	o := s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil || s.cmd.Err() != nil {
		o.streams[s.p].pause = o.keeper.later()
		return
	}
	for _, id := range s.ids {
		delete(o.streams[s.p].settled, id)
	}
}

// fetch reads facts.
type fetch struct {
	outbox *outbox
	p      int
	after  string
	most   int
	cmd    *redis.XMessageSliceCmd
}

func (r *fetch) partition() int { return r.p }

func (r *fetch) send(ctx context.Context, pipe redis.Pipeliner) {
	from := "-"
	if r.after != "" {
		from = "(" + r.after
	}
	r.cmd = pipe.XRangeN(ctx, r.outbox.keeper.roster.outboxKey(r.p), from, "+", int64(r.most))
}

func (r *fetch) learn(err error) {
	o, k := r.outbox, r.outbox.keeper
	if err != nil || r.cmd.Err() != nil {
		return // with the next beat
	}
	if !k.owned.have[r.p] || k.owned.fenced(r.p) {
		return // read again by whoever owns it next
	}
	for _, f := range o.take(r) {
		k.roster.watcher.Tell(f)
	}
}

// take notes what was read, and returns what is to be told of it.
func (o *outbox) take(r *fetch) (facts []broker.Fact) {
	read, now := r.cmd.Val(), time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &o.streams[r.p]
	if s.out == nil {
		s.out = map[string]time.Time{}
	}
	for _, m := range read {
		s.cursor = m.ID
		if _, is := s.out[m.ID]; is || s.settled[m.ID] {
			continue
		}
		f, err := parseFact(m.Values)
		if err != nil {
			o.keeper.unreadable(o.keeper.roster.outboxKey(r.p), err)
			o.keeper.roster.lost(1)
			s.done(m.ID)
			continue
		}
		f.Entry = entryOf(r.p, m.ID)
		s.out[m.ID] = now
		facts = append(facts, f)
	}
	s.read = s.read || len(read) == r.most
	return facts
}

func entryOf(p int, id string) string { return strconv.Itoa(p) + "/" + id }

// parseEntry takes what entryOf made.
func parseEntry(entry string) (p int, id string, ok bool) {
	number, id, ok := strings.Cut(entry, "/")
	p, err := strconv.Atoi(number)
	return p, id, ok && err == nil && p >= 0 && p < Partitions
}

// parseFact takes an entry of the outbox.
func parseFact(values map[string]any) (f broker.Fact, err error) {
	kind, ok := factLetters[text(values["t"])]
	if !ok {
		return f, fmt.Errorf("a fact of kind %q", text(values["t"]))
	}
	f = broker.Fact{Kind: kind, Name: text(values["n"]), User: text(values["u"]), Record: []byte(text(values["r"]))}
	at, err := strconv.ParseInt(text(values["a"]), 10, 64)
	if err == nil && text(values["g"]) != "" {
		f.Generation, err = strconv.ParseUint(text(values["g"]), 10, 64)
	}
	if err != nil {
		return f, fmt.Errorf("read a fact: %w", err)
	}
	f.At = time.UnixMilli(at)
	return f, nil
}

// trimmed counts facts that found no room.
func (k *keeper) trimmed(facts int) {
	if facts > 0 {
		k.roster.lost(facts)
		k.roster.log.Error("outbox full", "the outbox is full: the oldest event is lost",
			"key", "webhook.outbox.redis", "lost", facts)
	}
}

// foreign complains about keys that hold something else than this version puts there.
func (k *keeper) foreign(names []any) {
	for _, name := range names {
		k.roster.log.Warn("foreign key", "redis has something else under a name of pushcart's", "key", "redis.prefix", "name", text(name))
	}
}
