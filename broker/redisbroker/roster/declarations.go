package roster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
)

const (
	// tryEvery is when what Redis did not take is sent again.
	tryEvery = 250 * time.Millisecond
	// turnEvery is when the next partition has its turn: it is found out whether Redis
	// has what was declared, and a part of that is declared again.
	turnEvery = time.Second
	// turnsToRenew is in how many turns a partition is renewed.
	turnsToRenew = int(renewEvery/turnEvery) / Partitions
	// inFlight and bytesAtOnce bound what goes out in one round trip, fieldsAtOnce the
	// partitions whose roster is read in one.
	inFlight     = 4000
	bytesAtOnce  = 1 << 20
	fieldsAtOnce = 4
)

// declarations are what this node declared, and what of it Redis is still to be told. One
// goroutine tells it.
type declarations struct {
	roster *Roster

	mu       sync.Mutex // guards all below
	closed   bool
	name     string // under which all below is declared
	parts    [Partitions]*part
	waiting  uint64          // parts that have something to do, as bits
	readings int             // of all parts
	away     uint64          // parts that Redis had no answers for with the last beat, as bits
	flushes  []chan struct{} // who waits until nothing waits
	wake     chan struct{}

	// Of the loop only.
	line  Line
	from  int    // the part that comes first
	held  uint64 // parts that are left alone until the next try
	moves moves
	round int // the partition whose turn it is
}

func newDeclarations(r *Roster) *declarations {
	d := &declarations{roster: r, line: r.link.Line(declareSource, membersSource), wake: make(chan struct{}, 1)}
	d.resetLocked()
	return d
}

func (d *declarations) resetLocked() {
	d.name, d.waiting = d.roster.life.name(), 0
	for p := range d.parts {
		if old := d.parts[p]; old != nil {
			for _, r := range old.readings {
				r.settle(broker.Members{}, broker.ErrUnavailable)
			}
			d.readings -= len(old.readings)
		}
		d.parts[p] = newPart()
	}
	d.settledLocked()
}

// forget drops all that was declared, for a node that begins a new life.
func (d *declarations) forget() {
	d.mu.Lock()
	var holds []hold
	for _, p := range d.parts {
		holds = append(holds, p.ripe(true)...)
	}
	d.resetLocked()
	d.mu.Unlock()
	say(holds, false)
}

// say tells those who hold something what became of it. No lock is held.
func say(holds []hold, stored bool) {
	for _, h := range holds {
		h.stored(stored)
	}
}

// beaten is called with each beat, with the parts that Redis had no answers for. Nobody
// waits for a Redis that is away.
func (d *declarations) beaten(away uint64) {
	d.mu.Lock()
	d.away = away
	var holds []hold
	for p, part := range d.parts {
		if away>>p&1 == 1 {
			holds = append(holds, part.ripe(true)...)
		}
	}
	d.mu.Unlock()
	say(holds, false)
}

// HandOver implements broker.Roster.
func (r *Roster) HandOver(connection string) bool {
	d, p := r.declared, r.link.Partition(connection)
	d.mu.Lock()
	defer d.mu.Unlock()
	part := d.parts[p]
	told := !d.lostLocked(p) && part.handOver(connection)
	if !told && !d.closed {
		part.declare(&broker.Change{Kind: broker.ConnectionGone, Name: connection})
	}
	d.touchLocked(p)
	return told
}

// Declare implements broker.Roster.
func (r *Roster) Declare(changes ...broker.Change) {
	r.keeper.want()
	d := r.declared
	d.mu.Lock()
	var stored, away []hold
	for i := range changes {
		c := &changes[i]
		p := r.link.Partition(c.Name)
		part := d.parts[p]
		lost := d.lostLocked(p)
		if !d.closed {
			part.declare(c)
			d.touchLocked(p)
		}
		switch {
		case c.Stored == nil:
		case lost:
			away = append(away, hold{stored: c.Stored})
		case part.done():
			stored = append(stored, hold{stored: c.Stored})
		default:
			part.hold(c.Stored)
		}
	}
	d.mu.Unlock()
	say(stored, true)
	say(away, false)
}

// lostLocked says that Redis is known to take nothing of a part now. One with nothing to
// say was not tried lately.
func (d *declarations) lostLocked(p int) bool {
	part := d.parts[p]
	return d.closed || d.away>>p&1 == 1 || part.away && !part.done()
}

// touchLocked has the loop look at a part that may have something to do.
func (d *declarations) touchLocked(p int) {
	if part := d.parts[p]; part.done() && !part.check && len(part.readings) == 0 {
		return
	}
	d.waiting |= 1 << p
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// counted is called when others know this node, so that it may declare what it has.
func (d *declarations) counted() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Flush implements broker.Roster.
func (r *Roster) Flush(ctx context.Context) {
	done := make(chan struct{})
	d := r.declared
	d.mu.Lock()
	d.flushes = append(d.flushes, done)
	d.settledLocked()
	d.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
	case <-r.link.Context().Done():
	}
}

// settledLocked tells those who wait for that when nothing waits.
func (d *declarations) settledLocked() {
	if len(d.flushes) == 0 {
		return
	}
	for _, p := range d.parts {
		if !p.done() {
			return
		}
	}
	for _, done := range d.flushes {
		close(done)
	}
	d.flushes = nil
}

// read queues a reading.
func (d *declarations) read(r *reading) error {
	p := d.roster.link.Partition(r.channel)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return broker.ErrClosed
	case !d.roster.link.UpFor(p):
		return broker.ErrUnavailable
	case d.readings >= maxReadings:
		return fmt.Errorf("%w: too many wait for members", broker.ErrUnavailable)
	}
	part := d.parts[p]
	r.after = part.taken + len(part.queue)
	part.readings = append(part.readings, r)
	d.readings++
	d.touchLocked(p)
	return nil
}

// checkAll has it found out, in all partitions, whether Redis has what was declared there:
// it may have lost it.
func (d *declarations) checkAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := range d.parts {
		d.checkLocked(p)
	}
}

func (d *declarations) checkLocked(p int) {
	if part := d.parts[p]; part.numbered > 0 {
		part.check = true
		d.touchLocked(p)
	}
}

// run is the goroutine of declarations.
func (d *declarations) run() {
	ctx := d.roster.link.Context()
	defer d.line.HangUp()
	try, turn := time.NewTicker(tryEvery), time.NewTicker(turnEvery)
	defer try.Stop()
	defer turn.Stop()
	for {
		for more := true; more && ctx.Err() == nil; {
			more = d.exchange(ctx)
		}
		wake := d.wake
		if d.held == everyPart {
			wake = nil
		}
		select {
		case <-ctx.Done():
			d.close()
			return
		case <-wake:
		case <-try.C:
			d.tryAgain()
		case <-turn.C:
			d.turn()
		}
	}
}

const everyPart = 1<<Partitions - 1

// tryAgain has what Redis did not take sent once more.
func (d *declarations) tryAgain() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = 0
	for p, part := range d.parts {
		if len(part.refused) > 0 {
			part.retry()
			d.touchLocked(p)
		}
	}
}

// turn is the next partition's.
func (d *declarations) turn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.round % Partitions
	d.round++
	d.parts[p].renewSome(turnsToRenew)
	d.checkLocked(p)
}

// close ends every reading and hold that waits, and refuses those to come.
func (d *declarations) close() {
	var holds []hold
	defer func() { say(holds, false) }()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, p := range d.parts {
		holds = append(holds, p.ripe(true)...)
		for _, r := range p.readings {
			r.settle(broker.Members{}, broker.ErrClosed)
		}
		p.readings = nil
	}
}

// exchange is one round trip. It says whether there is more to do now.
func (d *declarations) exchange(ctx context.Context) (more bool) {
	w := d.take()
	if len(w.parcels) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, membersWait)
	defer cancel()
	_, err := d.line.Exchange(ctx, func(pipe redis.Pipeliner) { w.send(ctx, pipe, d.roster) })
	if err != nil {
		d.failed(w, err)
		return false
	}
	return d.settle(w)
}
