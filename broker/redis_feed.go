package broker

import (
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
)

// feed is a stream that this node is subscribed to. It makes of what Redis sends, which
// may break off and begin again at any time, what a Receiver is promised: every
// message of the stream once and in order.
type feed struct {
	topic string
	asked bool // to be compared, once; guarded by streams.mu

	mu    sync.Mutex // guards all below; held while the receiver is called
	keep  Retention
	at    Position // what was handed over; without an epoch it is not known
	state feedState
	// waiting are messages that came while earlier ones are fetched.
	waiting []Message
	bytes   int
	tail    tail
	told    bool          // the receiver was told where it begins
	opened  chan struct{} // closed when it was
}

type feedState uint8

const (
	live   feedState = iota
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
func (f *feed) take(m Message, hand Receiver) (missing, dropped bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == gone {
		return false, false
	}
	if f.at.Epoch == "" && m.Position.Offset > 0 { // before the position was read
		f.at = Position{m.Position.Offset - 1, m.Position.Epoch}
		f.open(hand)
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

// next says whether m is what comes next.
func (f *feed) next(m Message) bool {
	return m.Position.Offset == 0 || m.Position.Epoch == f.at.Epoch && m.Position.Offset == f.at.Offset+1
}

// had says whether m was handed over before.
func (f *feed) had(m Message) bool {
	return m.Position.Offset > 0 && m.Position.Epoch == f.at.Epoch && m.Position.Offset <= f.at.Offset
}

func (f *feed) hand(m Message, hand Receiver) {
	if m.Position.Offset > 0 {
		f.at = m.Position
		f.tail.add(m)
	}
	hand(m)
}

// wait keeps m until what is missing before it is there. false: it is lost.
func (f *feed) wait(m Message) bool {
	if len(f.waiting) >= maxWaitingMessages || f.bytes+len(m.Payload) > maxWaitingBytes {
		return m.Position.Offset > 0 // it can be fetched
	}
	f.waiting = append(f.waiting, m)
	f.bytes += len(m.Payload)
	return true
}

// open tells the receiver where the stream stands, once that is known, if it asked for
// a stream.
func (f *feed) open(hand Receiver) {
	if f.told || f.at.Epoch == "" || !f.keep.Keeps() {
		return
	}
	f.told = true
	hand(Message{Topic: f.topic, Kind: Opened, Position: f.at})
	close(f.opened)
}

// compare takes what Redis says of the stream. It says whether messages are missing.
func (f *feed) compare(current Position, hand Receiver) (missing bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.state != live:
		return false
	case f.at.Epoch == "":
		f.at = current
		f.open(hand)
		return false
	case current.Epoch == f.at.Epoch && current.Offset == f.at.Offset:
		return false
	}
	f.state = behind
	return true
}

// need is what a feed lacks to go on.
type need struct {
	more bool   // messages after an offset
	from uint64 // that offset
	fork bool   // and first a note that an epoch ended before what was handed over of it
}

// wants is what a feed that is behind needs first.
func (f *feed) wants() need {
	f.mu.Lock()
	defer f.mu.Unlock()
	return need{more: f.state == behind, from: f.at.Offset}
}

// fetched takes what was read, and says what is still missing.
func (f *feed) fetched(a *answer, hand Receiver) need {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != behind || !a.exists {
		return need{}
	}
	from, told := a.resume(f.at)
	switch {
	case !told:
		return need{more: true, from: from, fork: true}
	case from < a.asked:
		return need{more: true, from: from}
	}
	_, whole := a.after(f.at)
	read := a.since(from)
	f.at = Position{from, a.Epoch}
	if !whole || read.Gap {
		f.lose(a, &read, hand)
	}
	f.merge(read.Messages, read.Reached, hand)
	f.at.Offset = max(f.at.Offset, read.Reached)
	if read.More || !f.resume(hand) {
		return need{more: true, from: f.at.Offset}
	}
	return need{}
}

// lose tells the receiver that messages are lost for good.
func (f *feed) lose(a *answer, read *Range, hand Receiver) {
	f.at.Offset = a.Offset
	if len(read.Messages) > 0 {
		f.at.Offset = read.Messages[0].Position.Offset - 1
	}
	f.tail = tail{}
	hand(Message{Topic: f.topic, Kind: Lost, Position: f.at})
}

// merge hands over what was fetched, which is all there is up to reach, and what came
// meanwhile, each at its place. What is not kept goes before the kept message that
// came after it. What came, and is farther than one beyond reach, waits on.
func (f *feed) merge(fetched []Message, reach uint64, hand Receiver) {
	for len(f.waiting) > 0 {
		before := f.nextKept()
		for len(fetched) > 0 && fetched[0].Position.Offset < before {
			f.hand(fetched[0], hand)
			fetched = fetched[1:]
		}
		w := f.waiting[0]
		switch kept := w.Position.Offset > 0; {
		case kept && w.Position.Epoch != f.at.Epoch: // its epoch is over: what is left of it was fetched
		case kept && w.Position.Offset > max(reach, f.at.Offset)+1:
			return
		case !kept || w.Position.Offset > f.at.Offset:
			f.hand(w, hand)
			fetched = beyond(fetched, f.at.Offset)
		}
		f.shift()
	}
	for _, m := range fetched {
		f.hand(m, hand)
	}
}

// nextKept is the offset of the first kept message that waits.
func (f *feed) nextKept() uint64 {
	for _, w := range f.waiting {
		if w.Position.Offset > 0 && w.Position.Epoch == f.at.Epoch {
			return w.Position.Offset
		}
	}
	return math.MaxUint64
}

// beyond are the messages after an offset.
func beyond(messages []Message, offset uint64) []Message {
	for len(messages) > 0 && messages[0].Position.Offset <= offset {
		messages = messages[1:]
	}
	return messages
}

func (f *feed) shift() {
	f.bytes -= len(f.waiting[0].Payload)
	if f.waiting = f.waiting[1:]; len(f.waiting) == 0 {
		f.waiting = nil
	}
}

// resume goes on with what came meanwhile. false: something is missing again.
func (f *feed) resume(hand Receiver) bool {
	for len(f.waiting) > 0 {
		switch w := f.waiting[0]; {
		case f.next(w):
			f.hand(w, hand)
		case !f.had(w):
			return false
		}
		f.shift()
	}
	f.state = live
	return true
}

// setKeep takes what the latest subscription says, if it says anything.
func (f *feed) setKeep(keep Retention, hand Receiver) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if keep.Keeps() {
		f.keep = keep
		f.open(hand)
	}
}

// believed is where the stream is for all that the feed knows, and how long its record
// is to live; 0: somebody else's rule says.
func (f *feed) believed() (life time.Duration, position string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keep.Keeps() {
		life = f.keep.recordLife()
	}
	return life, f.at.Epoch + " " + offsetText(f.at.Offset)
}

// position is what was handed over, and how old messages may be.
func (f *feed) position() (at Position, age time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at, f.keep.Age
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
	f.tail = tail{}
}

// end gives the feed up.
func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state, f.waiting, f.tail = gone, nil, tail{}
}

// parseKept reads what a script put before a message in pub/sub. ok is false for a
// message without it.
func parseKept(topic, payload string) (m Message, ok bool) {
	if len(payload) == 0 || payload[0] != streamMark {
		return Message{}, false
	}
	var head [4]string
	rest := payload[1:]
	for i := range head {
		if head[i], rest, ok = strings.Cut(rest, " "); !ok {
			return Message{}, false
		}
	}
	m = Message{Topic: topic, Payload: []byte(rest), Position: Position{parseOffset(head[1]), head[0]}}
	m.Time, _ = strconv.ParseInt(head[2], 10, 64)
	m.ends, _ = strconv.ParseInt(head[3], 10, 64)
	return m, true
}
