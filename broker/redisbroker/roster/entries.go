package roster

import (
	"time"

	"github.com/pushcart/pushcart/broker"
)

// key is what a declaration is about: the letter of its field, and the names in it.
type key struct {
	letter     byte
	name, user string
}

// state is what was declared of it.
type state struct {
	gone, ended, tell   bool
	handed              bool // gone as the outbox has it
	stored              bool // tell, delay and frames are as Redis has them
	connections, frames int
	delay               time.Duration
	text                []byte // the record of a connection, the info of a member
}

// read takes a declaration apart.
func read(c *broker.Change) (k key, s state) {
	s = state{tell: c.Tell, connections: c.Connections, frames: c.Frames, delay: c.Delay}
	switch c.Kind {
	case broker.ConnectionHere, broker.ConnectionEnded, broker.ConnectionGone:
		k = key{letter: 'c', name: c.Name}
		s.text, s.ended, s.gone = c.Record, c.Kind == broker.ConnectionEnded, c.Kind == broker.ConnectionGone
	case broker.UserHere, broker.UserGone:
		k, s.gone = key{letter: 'u', name: c.Name}, c.Kind == broker.UserGone
	case broker.ChannelHere, broker.ChannelGone:
		k, s.gone = key{letter: 'o', name: c.Name}, c.Kind == broker.ChannelGone
	default:
		k = key{letter: 'm', name: c.Name, user: c.User}
		s.text, s.gone = c.Info, c.Kind == broker.MemberGone
	}
	return k, s
}

// entry is one thing that this node declared. One that is gone stays until Redis
// confirmed that.
type entry struct {
	key   key
	state state
	// known: with all that was sent, Redis has it from this node. maybe: it was sent, and
	// not answered.
	known, maybe bool
	// open counts its changes that wait or are on their way; last: one of them goes out
	// as what is so by then, again: and Redis was told of that before.
	open        int
	last, again bool
}

// change is one that Redis is to be told.
type change struct {
	entry *entry
	state state
	last  bool // state and again are the entry's when it is sent
	again bool // it was told before
	// Set when it is sent: what Redis may have of it, and the entry's known and maybe
	// before.
	known, wasKnown, wasMaybe bool
}

// needs says whether Redis needs to hear that a state is so; needed, whether of what is so
// now.
func (e *entry) needs(s *state) bool { return !s.gone || s.handed || e.known || e.maybe }

func (e *entry) needed() bool { return e.needs(&e.state) }

// freeze fixes what is sent. false: there is nothing to say.
func (c *change) freeze() bool {
	e := c.entry
	if c.last {
		c.state, c.again, c.last, e.last = e.state, e.again, false, false
	}
	if !c.state.stored && !e.needs(&c.state) {
		return false
	}
	c.wasKnown, c.wasMaybe = e.known, e.maybe
	c.known = e.known || c.state.gone && e.maybe
	e.known, e.maybe = !c.state.gone, true
	return true
}

// size is about how many bytes it is on the wire.
func (c *change) size() int {
	return 64 + len(c.entry.key.name) + len(c.entry.key.user) + len(c.entry.state.text)
}

// encode adds a change to the arguments of declareSource:
//
//	c CONNECTION VALUE        -c CONNECTION        >c CONNECTION RECORD
//	u USER MARKS DELAY        -u USER MARKS DELAY
//	o CHANNEL MARKS DELAY     -o CHANNEL MARKS DELAY
//	m CHANNEL USER MARKS FRAMES COUNT INFO
//	-m CHANNEL USER MARKS FRAMES
//
// VALUE is the field's, DELAY in ms. MARKS are letters: k known, a declared again, t to be
// told, s as is stored.
func encode(args []any, c *change) []any {
	k, s := &c.entry.key, &c.state
	letter := string(k.letter)
	switch {
	case s.handed:
		letter = ">" + letter
	case s.gone:
		letter = "-" + letter
	}
	args = append(args, letter, k.name)
	switch {
	case s.handed:
		return append(args, s.text)
	case k.letter == 'c' && s.gone:
		return args
	case k.letter == 'c' && s.ended:
		return append(args, endedRecord+string(s.text))
	case k.letter == 'c':
		return append(args, livingRecord+string(s.text))
	case k.letter != 'm':
		return append(args, c.marks(), s.delay.Milliseconds())
	}
	args = append(args, k.user, c.marks(), s.frames)
	if !s.gone {
		args = append(args, max(s.connections, 1), s.text)
	}
	return args
}

func (c *change) marks() string {
	var b [4]byte
	marks := b[:0]
	for _, m := range [...]struct {
		is     bool
		letter byte
	}{{c.known, 'k'}, {c.again, 'a'}, {c.state.tell, 't'}, {c.state.stored, 's'}} {
		if m.is {
			marks = append(marks, m.letter)
		}
	}
	return string(marks)
}
