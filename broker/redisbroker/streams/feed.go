package streams

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pushcart/pushcart/broker"

	"github.com/pushcart/pushcart/broker/internal/record"
)

// feed is a stream that this node is subscribed to. It makes of what Redis sends, which
// may break off and begin again at any time, what a Receiver is promised: every
// message of the stream once and in order.
type feed struct {
	topic string

	// Guarded by streams.mu.
	asked    bool // to be compared, once
	queued   bool // waits to be compared
	fetching bool // waits to be fetched, or is

	mu    sync.Mutex // guards all below; held while the receiver is called
	keep  broker.Retention
	at    broker.Position // what was handed over; without an epoch it is not known
	state feedState
	// past is how far it had come in epochs before, oldest first, at most maxForks: a Redis
	// that is set back to one of them starts nothing over.
	past []broker.Position
	// waiting are messages that came while the position is read, or earlier ones are
	// fetched. The first so many of them came before they were asked for.
	waiting []broker.Message
	before  int
	bytes   int
	// partial: what was asked for is not all that is missing. Kept messages came since
	// that do not wait, or some may have been missed.
	partial bool
	// doubted: messages may have been missed since a comparison was asked for.
	doubted bool
	// floor is where the stream was when this node last left it, a moment ago.
	floor broker.Position
	// lag, if it is not 0, is where Redis and this feed were not both at the last comparison.
	lag    uint64
	tail   tail
	told   bool          // the receiver was told where it begins
	opened chan struct{} // closed when it was
}

// closed is in the place of channels that are.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// isOpen is closed when the receiver was told where the stream begins.
func (f *feed) isOpen() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened
}

type feedState uint8

const (
	live   feedState = iota
	unsure           // messages may be missing: Redis is asked where the stream is
	behind           // messages are missing, and asked for
	gone             // nobody is subscribed any more
)

const (
	// maxWaitingMessages and maxWaitingBytes bound what waits in one feed. Kept
	// messages beyond them are fetched; others are lost.
	maxWaitingMessages = 256
	maxWaitingBytes    = 1 << 20
)

// take is for a message that came just now. It says whether messages are missing
// before it.
func (f *feed) take(m broker.Message, hand broker.Receiver) (missing, dropped bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch kept := m.Position.Offset > 0; {
	case f.state == gone:
		return false, false
	case f.at.Epoch == "" && !kept:
		return false, !f.wait(m)
	case f.at.Epoch == "" && m.Position.Epoch == f.floor.Epoch && m.Position.Offset <= f.floor.Offset:
		return false, false // sent to the subscription before this one
	case f.at.Epoch == "":
		f.at = broker.Position{Offset: m.Position.Offset - 1, Epoch: m.Position.Epoch}
		f.open(hand)
		f.flush(hand)
	}
	if f.state == live && f.next(m) {
		f.hand(m, hand)
		return false, false
	}
	if f.state == live && f.had(m) {
		return false, false
	}
	missing = f.state == live
	f.state = behind
	return missing, !f.wait(m)
}

// flush hands over what waits and is not kept.
func (f *feed) flush(hand broker.Receiver) {
	for len(f.waiting) > 0 {
		m := f.waiting[0]
		f.shift()
		hand(m)
	}
}

// next says whether m is what comes next.
func (f *feed) next(m broker.Message) bool {
	return m.Position.Offset == 0 || m.Position.Epoch == f.at.Epoch && m.Position.Offset == f.at.Offset+1
}

// had says whether m was handed over before.
func (f *feed) had(m broker.Message) bool {
	return m.Position.Offset > 0 && m.Position.Epoch == f.at.Epoch && m.Position.Offset <= f.at.Offset
}

func (f *feed) hand(m broker.Message, hand broker.Receiver) {
	if m.Position.Offset > 0 {
		f.at = m.Position
		f.tail.add(m)
	}
	hand(m)
}

// wait keeps m until what is missing before it is there. false: it is lost.
func (f *feed) wait(m broker.Message) bool {
	if len(f.waiting) >= maxWaitingMessages || f.bytes+len(m.Payload) > maxWaitingBytes {
		kept := m.Position.Offset > 0
		f.partial = f.partial || kept
		return kept
	}
	f.waiting = append(f.waiting, m)
	f.bytes += len(m.Payload)
	return true
}

// open tells the receiver where the stream stands, once that is known, if it asked for
// a stream.
func (f *feed) open(hand broker.Receiver) {
	if f.told || f.at.Epoch == "" || !f.keep.Keeps() {
		return
	}
	f.told = true
	hand(broker.Message{Topic: f.topic, Kind: broker.Opened, Position: f.at})
	close(f.opened)
	f.opened = closed // 96 bytes less
}

// doubt is called when messages may have been missed: those to come wait until a
// comparison tells. A reader must not be given the tail any more.
func (f *feed) doubt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.doubted, f.partial = true, f.state == behind
	f.tail.drop()
	if f.state == live && f.at.Epoch != "" {
		f.state = unsure
	}
}

// compare takes what Redis says of the stream; nil: it is where this feed was when it was
// asked for. missing: messages are, and have to be
// fetched; again: they may be, if a comparison after a while still finds a difference.
func (f *feed) compare(current *record.Record, hand broker.Receiver) (missing, again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lag := f.lag
	f.lag = 0
	switch {
	case f.state == gone || current == nil && f.state == live:
		return false, false
	case f.at.Epoch == "":
		f.at = current.Position
		f.remember(current)
		f.open(hand)
		if f.doubted { // the next one tells
			f.state = unsure
			return false, false
		}
		f.flush(hand)
		return false, false
	case f.state == unsure && f.doubted: // the next one tells
		return false, false
	case f.state == unsure && (current == nil || current.Position == f.at):
		return !f.goOn(hand), false
	case f.state != live || current.Epoch != f.at.Epoch: // it is clear what to do
	case current.Offset == f.at.Offset || lag > 0 && min(current.Offset, f.at.Offset) >= lag:
		return false, false
	case lag == 0: // perhaps messages are on their way
		f.lag = max(current.Offset, f.at.Offset)
		return false, true
	}
	f.state = behind
	return true, false
}

// goOn hands over what waits, as nothing before it is missing. false: something is.
func (f *feed) goOn(hand broker.Receiver) bool {
	f.before = 0
	if f.state = behind; f.merge(&broker.Range{Reached: f.at.Offset}, hand) && !f.partial {
		f.state = live
	}
	return f.state == live
}

// release is for a Redis that does not say where the stream is: what waits for that is
// handed over, as far as it can be. It says whether messages are missing.
func (f *feed) release(hand broker.Receiver) (missing bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.state == unsure:
		return !f.goOn(hand)
	case f.state == live && f.at.Epoch == "":
		f.flush(hand)
	}
	return false
}

// setKeep takes what the latest subscription says, if it says anything.
func (f *feed) setKeep(keep broker.Retention, hand broker.Receiver) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if keep.Keeps() {
		f.keep = keep
		f.open(hand)
	}
}

// believed is for a comparison: where the stream is for all that the feed knows, and how long its record
// is to live; 0: somebody else's rule says. false: nobody is subscribed any more.
func (f *feed) believed() (life time.Duration, position string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.doubted = false
	if f.keep.Keeps() {
		life = record.Life(f.keep.Age)
	}
	return life, f.at.Epoch + " " + offsetText(f.at.Offset), f.state != gone
}

// ageTail lets go of the tail of a stream that is silent.
func (f *feed) ageTail() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tail.age()
}

// forget drops what a reader must not be given any more.
func (f *feed) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tail.drop()
}

// end gives the feed up, and returns where it was.
func (f *feed) end() broker.Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state, f.waiting = gone, nil
	f.tail.drop()
	return f.at
}

// parseKept reads what a script put before a message in pub/sub. ok is false for a
// message without it.
func parseKept(topic, payload string) (m broker.Message, ok bool) {
	if len(payload) == 0 || payload[0] != streamMark {
		return broker.Message{}, false
	}
	var head [4]string
	rest := payload[1:]
	for i := range head {
		if head[i], rest, ok = strings.Cut(rest, " "); !ok {
			return broker.Message{}, false
		}
	}
	m = broker.Message{Topic: topic, Payload: []byte(rest), Position: broker.Position{Offset: parseOffset(head[1]), Epoch: head[0]}}
	m.Time, _ = strconv.ParseInt(head[2], 10, 64)
	m.Ends, _ = strconv.ParseInt(head[3], 10, 64)
	return m, true
}
