package streams

import (
	"math"
	"slices"
	"time"

	"github.com/pushcart/pushcart/broker"

	"github.com/pushcart/pushcart/broker/internal/record"
)

// need is what a feed lacks to go on.
type need struct {
	more bool   // messages after an offset
	from uint64 // that offset
	// fork, if it has an epoch, is a position that its epoch ended before: that must be
	// noted first.
	fork broker.Position
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
	f.before, f.partial = len(f.waiting), false
	return f.keep.Age, f.state == behind
}

// fetched takes what was read, and says what is still missing.
func (f *feed) fetched(a *answer, hand broker.Receiver) need {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != behind {
		return need{}
	}
	if !a.exists { // the record went away after it was made sure of
		return need{more: true, from: f.at.Offset}
	}
	has := f.known(a)
	from, _ := a.Resume(has)
	if fork := f.beyond(a, has); fork != (broker.Position{}) || from < a.asked {
		return need{more: true, from: from, fork: fork}
	}
	_, whole := a.After(f.at)
	read := a.since(from)
	if f.at.Epoch != a.Epoch {
		f.remember(&a.Record)
	}
	f.at = broker.Position{Offset: from, Epoch: a.Epoch}
	if !whole || read.Gap {
		f.lose(&read, hand)
	}
	all := f.merge(&read, hand)
	f.at.Offset = max(f.at.Offset, read.Reached)
	if !all || read.More || f.partial {
		return need{more: true, from: f.at.Offset}
	}
	f.state = live
	return need{}
}

// known is the latest position that was come to in an epoch that the answer knows.
func (f *feed) known(a *answer) broker.Position {
	for i := len(f.past) - 1; i >= 0 && !a.Knows(f.at.Epoch); i-- {
		if a.Knows(f.past[i].Epoch) {
			return f.past[i]
		}
	}
	return f.at
}

// remember notes what is over as r goes on with another epoch.
func (f *feed) remember(r *record.Record) {
	if len(r.Forks) == 0 && len(f.past) == 0 && (f.at.Epoch == "" || f.at.Epoch == r.Epoch) {
		return // of most streams there is nothing to note
	}
	past := make([]broker.Position, 0, len(r.Forks)+1)
	for _, fork := range r.Forks {
		past = append(past, fork.Position)
	}
	for _, p := range append(f.past, f.at) {
		i := slices.IndexFunc(past, func(q broker.Position) bool { return q.Epoch == p.Epoch })
		switch {
		case i >= 0:
			past[i].Offset = max(past[i].Offset, p.Offset)
		case p.Epoch != r.Epoch:
			past = append(past, p)
		}
	}
	f.past = slices.Clip(past[max(0, len(past)-record.MaxForks):])
}

// beyond is a position of what came to this node before it asked, whose epoch ended before
// it without a note that messages were lost.
func (f *feed) beyond(a *answer, has broker.Position) broker.Position {
	if _, told := a.Resume(has); !told {
		return has
	}
	for _, w := range f.waiting[:f.before] {
		if _, told := a.Resume(w.Position); w.Position.Offset > 0 && !told {
			return w.Position
		}
	}
	return broker.Position{}
}

// lose tells the receiver that messages are lost for good, if it asked for a stream.
func (f *feed) lose(read *broker.Range, hand broker.Receiver) {
	f.at.Offset = read.Reached
	if len(read.Messages) > 0 {
		f.at.Offset = read.Messages[0].Position.Offset - 1
	}
	f.tail.drop()
	if f.told {
		hand(broker.Message{Topic: f.topic, Kind: broker.Lost, Position: f.at})
	}
}

// merge hands over what was fetched and what came meanwhile, each at its place. What is
// not kept goes before the kept message that came after it. all is false where some of it
// has to wait on: for messages before it that were not read.
func (f *feed) merge(read *broker.Range, hand broker.Receiver) (all bool) {
	fetched := read.Messages
	for all = true; all && len(f.waiting) > 0; {
		w := f.waiting[0]
		kept, place := w.Position.Offset > 0, f.place(w)
		switch {
		case kept && w.Position.Epoch != f.at.Epoch:
			// Its epoch is over, and what is left of it was read; unless it came later.
			all = f.before > 0
		case place > max(read.Reached, f.at.Offset)+1 && (place < math.MaxUint64 || read.More || f.partial):
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
func (f *feed) place(w broker.Message) uint64 {
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
func beyond(messages []broker.Message, offset uint64) []broker.Message {
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
