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

	// Guarded by streams.mu.
	asked    bool // to be compared, once
	queued   bool // waits to be compared
	fetching bool // waits to be fetched, or is

	mu    sync.Mutex // guards all below; held while the receiver is called
	keep  Retention
	at    Position // what was handed over; without an epoch it is not known
	state feedState
	// waiting are messages that came while the position is read, or earlier ones are
	// fetched. The first so many of them came before they were asked for.
	waiting []Message
	before  int
	bytes   int
	// skipped: since then kept messages came that do not wait. They are fetched.
	skipped bool
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
	switch kept := m.Position.Offset > 0; {
	case f.state == gone:
		return false, false
	case f.at.Epoch == "" && !kept:
		return false, !f.wait(m)
	case f.at.Epoch == "":
		f.begin(Position{m.Position.Offset - 1, m.Position.Epoch}, hand)
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

// begin is for a position that was not known.
func (f *feed) begin(at Position, hand Receiver) {
	f.at = at
	f.open(hand)
	for len(f.waiting) > 0 {
		m := f.waiting[0]
		f.shift()
		hand(m)
	}
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
	if f.skipped || len(f.waiting) >= maxWaitingMessages || f.bytes+len(m.Payload) > maxWaitingBytes {
		kept := m.Position.Offset > 0
		f.skipped = f.skipped || kept
		return kept
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
	case f.state == gone:
		return false
	case f.state == live && f.at.Epoch == "":
		f.begin(current, hand)
		return false
	case f.state == live && current == f.at:
		return false
	}
	f.state = behind
	return true
}

// need is what a feed lacks to go on.
type need struct {
	more bool   // messages after an offset
	from uint64 // that offset
	// fork, if it has an epoch, is a position that its epoch ended before: that must be
	// noted first.
	fork Position
}

// wants is what a feed that is behind needs first.
func (f *feed) wants() need {
	f.mu.Lock()
	defer f.mu.Unlock()
	return need{more: f.state == behind, from: f.at.Offset}
}

// ask is called when messages are asked for. It says what was handed over, and how old
// messages may be; false: nothing is to be asked.
func (f *feed) ask() (age time.Duration, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.skipped = len(f.waiting), false
	return f.keep.Age, f.state == behind
}

// fetched takes what was read, and says what is still missing.
func (f *feed) fetched(a *answer, hand Receiver) need {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != behind {
		return need{}
	}
	if !a.exists { // the record went away after it was made sure of
		return need{more: true, from: f.at.Offset}
	}
	from, _ := a.resume(f.at)
	if fork := f.beyond(a); fork != (Position{}) || from < a.asked {
		return need{more: true, from: from, fork: fork}
	}
	_, whole := a.after(f.at)
	read := a.since(from)
	f.at = Position{from, a.Epoch}
	if !whole || read.Gap {
		f.lose(&read, hand)
	}
	all := f.merge(&read, hand)
	f.at.Offset = max(f.at.Offset, read.Reached)
	if !all || read.More || f.skipped {
		return need{more: true, from: f.at.Offset}
	}
	f.state = live
	return need{}
}

// beyond is a position of what came to this node before it asked, whose epoch ended before
// it without a note that messages were lost.
func (f *feed) beyond(a *answer) Position {
	if _, told := a.resume(f.at); !told {
		return f.at
	}
	for _, w := range f.waiting[:f.before] {
		if _, told := a.resume(w.Position); w.Position.Offset > 0 && !told {
			return w.Position
		}
	}
	return Position{}
}

// lose tells the receiver that messages are lost for good, if it asked for a stream.
func (f *feed) lose(read *Range, hand Receiver) {
	f.at.Offset = read.Reached
	if len(read.Messages) > 0 {
		f.at.Offset = read.Messages[0].Position.Offset - 1
	}
	f.tail = tail{}
	if f.told {
		hand(Message{Topic: f.topic, Kind: Lost, Position: f.at})
	}
}

// merge hands over what was fetched and what came meanwhile, each at its place. What is
// not kept goes before the kept message that came after it. all is false where some of it
// has to wait on: for messages before it that were not read.
func (f *feed) merge(read *Range, hand Receiver) (all bool) {
	fetched := read.Messages
	for all = true; all && len(f.waiting) > 0; {
		w := f.waiting[0]
		kept, place := w.Position.Offset > 0, f.place(w)
		switch {
		case kept && w.Position.Epoch != f.at.Epoch:
			// Its epoch is over, and what is left of it was read; unless it came later.
			all = f.before > 0
		case place > max(read.Reached, f.at.Offset)+1 && (place < math.MaxUint64 || read.More):
			all = false
		default:
			for len(fetched) > 0 && fetched[0].Position.Offset < place {
				f.hand(fetched[0], hand)
				fetched = fetched[1:]
			}
			if !kept || place > f.at.Offset {
				f.hand(w, hand)
			}
			fetched = beyond(fetched, f.at.Offset)
		}
		if all {
			f.shift()
		}
	}
	for _, m := range fetched {
		f.hand(m, hand)
	}
	return all
}

// place is the offset of the first kept message that waits, from w on.
func (f *feed) place(w Message) uint64 {
	if w.Position.Offset > 0 {
		return w.Position.Offset
	}
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
	f.before = max(f.before-1, 0)
	if f.waiting = f.waiting[1:]; len(f.waiting) == 0 {
		f.waiting = nil
	}
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
// is to live; 0: somebody else's rule says. false: nobody is subscribed any more.
func (f *feed) believed() (life time.Duration, position string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keep.Keeps() {
		life = f.keep.recordLife()
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
