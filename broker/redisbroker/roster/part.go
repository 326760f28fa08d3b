package roster

import (
	"strconv"

	"github.com/pushcart/pushcart/broker"
)

const (
	// changesAtOnce bounds a batch, and maxWaiting the changes that wait for Redis in a
	// partition, before only the last to each name is kept.
	changesAtOnce = 500
	maxWaiting    = 10_000
)

// part is what this node declared in one partition. It does not talk to Redis itself.
type part struct {
	entries map[key]*entry
	queue   []change
	// refused are changes whose keys are of another type; they are tried again.
	refused []change
	batch   *batch // on its way, or to be sent again
	// away: what was sent last was not taken. full: too many changes wait. Then only the
	// last to each name is kept.
	away, full bool
	// stale: Redis lacks some of what was declared, and is to be told everything again.
	// anew: the next batch is the first to do so, if Redis has what it had when that was
	// found out.
	stale, anew bool
	// check: it is to be found out whether Redis has everything.
	check bool
	// numbered is the number given last; had is that of the batch that Redis has, "" for
	// none.
	numbered uint64
	had      string
	renew    []*entry
	// taken is how many changes left the queue; readings wait for some of them.
	taken    int
	readings []*reading
	holds    []hold
	// needless is about how many changes of queue need not go.
	needless int
}

// hold is somebody who wants to know when Redis has what was declared: when the first so
// many changes that left the queue are there.
type hold struct {
	after  int
	stored func(bool)
}

// batch is changes that go out together.
type batch struct {
	changes []change
	before  string // the number of the batch before it, "" if it is the first
	number  string
	// doubt: it got no answer before, so that Redis may have it.
	doubt       bool
	check, anew bool // as of the part
}

func newPart() *part { return &part{entries: map[key]*entry{}} }

// declare takes one declaration.
func (p *part) declare(c *broker.Change) {
	k, s := read(c)
	p.set(k, s)
}

// handOver has the record of a connection's end moved to the outbox. false: there is none.
func (p *part) handOver(connection string) bool {
	k := key{letter: 'c', name: connection}
	e := p.entries[k]
	if e == nil || !e.state.ended {
		return false
	}
	s := e.state
	s.gone, s.handed = true, true
	p.set(k, s)
	return true
}

// set says what is so of a name from now on.
func (p *part) set(k key, s state) {
	e := p.entries[k]
	switch {
	case e == nil && s.gone, e != nil && s.gone && e.state.gone:
		return
	case e == nil:
		e = &entry{key: k}
		p.entries[k] = e
	}
	e.state, e.again = s, false
	switch {
	case p.stale && e.open == 0 && !e.needed():
		delete(p.entries, k)
	case e.last || p.stale: // goes out as what is so by then
	case p.away || p.full:
		p.add(change{entry: e, last: true})
	default:
		p.add(change{entry: e, state: s})
	}
	if len(p.queue) > maxWaiting && !p.away && !p.full {
		p.full = true
		p.collapse()
	}
	if e.last && !e.needed() {
		p.needless++
		if p.needless > changesAtOnce && p.needless > len(p.queue)/2 {
			p.tidy()
		}
	}
}

// tidy takes out what came and went while nothing could be sent, so that a Redis that is
// away for long costs no memory.
func (p *part) tidy() {
	queue := p.queue
	p.queue, p.needless = nil, 0
	for _, c := range queue {
		if c.last && !c.entry.needed() {
			c.entry.last = false
			p.close(c.entry)
			continue
		}
		p.queue = append(p.queue, c)
	}
	p.moved()
}

func (p *part) add(c change) {
	c.entry.open++
	c.entry.last = c.entry.last || c.last
	p.queue = append(p.queue, c)
}

// collapse keeps one change to each name.
func (p *part) collapse() {
	queue := p.queue
	p.queue = nil
	for i := range queue {
		c := &queue[i]
		if c.last {
			c.again = c.entry.again
		}
		c.entry.open--
		c.entry.last = false
	}
	for _, c := range queue {
		switch e := c.entry; {
		case c.state.stored:
			p.add(c)
		case e.last:
			e.again = e.again && c.again
		default:
			e.again = c.again
			p.add(change{entry: e, last: true})
		}
	}
	p.moved()
}

// moved has readings and holds wait for all that waits now.
func (p *part) moved() {
	for _, r := range p.readings {
		r.after = p.taken + len(p.queue)
	}
	for i := range p.holds {
		p.holds[i].after = p.taken + len(p.queue)
	}
}

// hold has stored called when Redis has all that was declared until now.
func (p *part) hold(stored func(bool)) {
	p.holds = append(p.holds, hold{after: p.taken + len(p.queue), stored: stored})
}

// ripe takes the holds whose changes Redis has, or all.
func (p *part) ripe(all bool) (ripe []hold) {
	n := len(p.holds)
	if !all {
		if p.batch != nil || p.stale || p.anew {
			return nil
		}
		for n = 0; n < len(p.holds) && p.holds[n].after <= p.taken; {
			n++
		}
	}
	ripe = p.holds[:n:n]
	if p.holds = p.holds[n:]; len(p.holds) == 0 {
		p.holds = nil
	}
	return ripe
}

// take returns the batch to be sent, nil if there is none.
func (p *part) take() *batch {
	switch {
	case p.batch != nil || p.stale:
		return p.batch
	case len(p.queue) == 0 && !p.check && !p.anew:
		return nil
	}
	b := &batch{before: p.had, check: p.check, anew: p.anew}
	n := 0
	for bytes := 0; n < len(p.queue) && len(b.changes) < changesAtOnce && bytes < bytesAtOnce; n++ {
		c := p.queue[n]
		if c.freeze() {
			b.changes = append(b.changes, c)
			bytes += c.size()
		} else {
			p.close(c.entry)
		}
	}
	p.taken += n
	if p.queue = p.queue[n:]; len(p.queue) == 0 {
		p.queue, p.full = nil, false
	}
	if len(b.changes) == 0 && !p.check && !p.anew {
		return nil
	}
	p.check, p.anew = false, false
	p.numbered++
	b.number = strconv.FormatUint(p.numbered, 10)
	p.batch = b
	return b
}

// close is for a change that went, or need not go.
func (p *part) close(e *entry) {
	if e.open--; e.open == 0 && e.state.gone && p.entries[e.key] == e {
		delete(p.entries, e.key)
	}
}

// confirm is for a batch that Redis took, but for the changes in left, by their place.
func (p *part) confirm(left map[int]bool) {
	b := p.batch
	p.batch, p.away, p.had = nil, false, b.number
	for i := len(b.changes) - 1; i >= 0; i-- {
		if c := &b.changes[i]; left[i] {
			c.entry.known, c.entry.maybe = c.wasKnown, c.wasMaybe
		}
	}
	for i := range b.changes {
		switch c, e := &b.changes[i], b.changes[i].entry; {
		case !left[i]:
			e.known, e.maybe = !c.state.gone, false
			p.close(e)
		case e.last:
			p.close(e)
		case c.state.stored:
			p.refused = append(p.refused, *c)
		default:
			e.last, e.again = true, c.again
			p.refused = append(p.refused, change{entry: e, last: true})
		}
	}
}

// fail is for a batch that got no answer: it is sent again as it is.
func (p *part) fail() {
	if p.batch != nil {
		p.batch.doubt = true
	}
	p.leave()
}

// refuse is for what Redis did not take. If it never may have, what is so by then is sent.
func (p *part) refuse() {
	if b := p.batch; b != nil && !b.doubt {
		p.undo()
		p.queue = append(b.changes, p.queue...)
		p.check, p.anew, p.away = p.check || b.check, b.anew, false
	}
	p.leave()
}

func (p *part) leave() {
	if !p.away {
		p.away = true
		p.collapse()
	}
}

// undo takes back what was believed of the batch.
func (p *part) undo() {
	for i := len(p.batch.changes) - 1; i >= 0; i-- {
		c := &p.batch.changes[i]
		if c.entry.known = c.wasKnown; !p.batch.doubt {
			c.entry.maybe = c.wasMaybe
		}
	}
	p.batch = nil
}

// lose is for a batch that Redis refused because it lacks what was declared before: all
// is to be declared again.
func (p *part) lose() {
	p.undo()
	p.stale = true
}

// resync has everything declared again, and what Redis has from us beyond that taken back:
// the fields of the roster, and the number of its last batch.
func (p *part) resync(fields []string, last string) {
	p.queue, p.refused, p.renew = nil, nil, nil
	for _, field := range fields {
		k, ok := parseField(field)
		switch e := p.entries[k]; {
		case !ok:
		case e == nil:
			p.add(change{entry: &entry{key: k}, state: state{gone: true, stored: true}})
		default:
			e.maybe = true
		}
	}
	for _, e := range p.entries {
		e.open, e.again = 0, true
		p.add(change{entry: e, last: true})
	}
	p.stale, p.anew, p.had = false, true, last
	p.moved()
}

// retry has refused changes sent again.
func (p *part) retry() {
	for _, c := range p.refused {
		if e := p.entries[c.entry.key]; c.state.stored && e != nil {
			e.maybe = true // declared meanwhile
			continue
		}
		p.queue = append(p.queue, c)
	}
	p.refused = nil
}

// renewSome has a part of what is here declared again, so that all is in so many turns.
func (p *part) renewSome(turns int) {
	if len(p.renew) == 0 {
		for _, e := range p.entries {
			if e.key.letter != 'c' { // their field lives as long as the roster does
				p.renew = append(p.renew, e)
			}
		}
	}
	n := min(len(p.renew), len(p.entries)/turns+1)
	for _, e := range p.renew[:n] {
		if e.open == 0 && !e.state.gone && p.entries[e.key] == e {
			e.again = true
			p.add(change{entry: e, last: true})
		}
	}
	p.renew = p.renew[n:]
}

// ready takes the readings that may go out behind the batch, if there is one.
func (p *part) ready() (all []*reading) {
	if p.stale || p.anew || len(p.readings) == 0 {
		return nil
	}
	rest := p.readings[:0]
	for _, r := range p.readings {
		switch {
		case r.gone.Load():
		case r.after <= p.taken || len(p.queue) == 0:
			all = append(all, r)
		default:
			rest = append(rest, r)
		}
	}
	clear(p.readings[len(rest):])
	p.readings = rest
	return all
}

// done says whether all that was declared is in Redis, as far as it takes it.
func (p *part) done() bool { return len(p.queue) == 0 && p.batch == nil && !p.stale && !p.anew }
