package streams

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"

	"github.com/pushcart/pushcart/broker/internal/record"
)

// model is a stream in Redis and the way of its messages to one feed, each step of which
// happens when chance has it.
type model struct {
	t    *testing.T
	rand *rand.Rand
	feed *feed
	log  strings.Builder

	// Redis.
	record    record.Record
	kept      []broker.Message // what Redis still has
	bound     int
	saved     record.Record
	savedKept []broker.Message
	rolled    bool
	// renamed: the server has another name than the record, so that what is kept next
	// begins an epoch.
	renamed bool
	number  int // of messages published
	epochs  int

	listening bool
	coming    []broker.Message // through pub/sub
	queue     []fetch          // of the streams' loop
	compares  int              // comparisons to send
	sent      []func()         // answers on their way, in order

	// The receiver.
	got  []broker.Message
	lost int
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, rand: rand.New(rand.NewPCG(seed, 1)), bound: 1000}
	if m.rand.IntN(3) == 0 {
		m.bound = 1 + m.rand.IntN(8)
	}
	m.feed = &feed{topic: "channel:x", keep: broker.Retention{Messages: m.bound, Age: time.Hour}, opened: make(chan struct{}), tail: tail{of: new(atomic.Int64)}}
	m.record.Epoch = m.epoch()
	m.save()
	return m
}

func (m *model) epoch() string { m.epochs++; return fmt.Sprint("E", m.epochs) }

func (m *model) note(format string, args ...any) { fmt.Fprintf(&m.log, format+"\n", args...) }

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\nafter\n%s", fmt.Sprintf(format, args...), &m.log)
}

// publish takes one message, as a script does.
func (m *model) publish(keep bool) {
	m.number++
	p := broker.Message{Topic: "channel:x", Payload: fmt.Append(nil, m.number)}
	if keep {
		if m.renamed {
			m.fork("")
		}
		m.record.Offset++
		p.Position = m.record.Position
		m.kept = append(m.kept, p)
		m.kept = m.kept[max(0, len(m.kept)-m.bound):]
	}
	m.note("publish %s at %+v", p.Payload, p.Position)
	if m.listening {
		m.coming = append(m.coming, p)
	}
}

func (m *model) fork(lossy string) {
	m.record.Forks = append(m.record.Forks, record.Fork{Position: m.record.Position, Lossy: lossy != ""})
	m.record.Epoch = m.epoch()
	m.renamed = false
	m.note("fork%s to %s", lossy, m.record.Epoch)
}

// save remembers what a server has now that lags from now on.
func (m *model) save() {
	saved := m.record
	saved.Forks = slices.Clone(m.record.Forks)
	m.saved, m.savedKept = saved, slices.Clone(m.kept)
	m.note("save")
}

// rollBack is a failover to a server that has what was saved.
func (m *model) rollBack() {
	m.cut()
	m.record, m.kept, m.renamed = m.saved, slices.Clone(m.savedKept), true
	m.record.Forks = slices.Clone(m.saved.Forks)
	m.rolled = true
	m.note("roll back to %+v", m.record.Position)
}

func (m *model) cut() { m.note("cut"); m.listening, m.coming = false, nil }

func (m *model) listen() {
	m.note("listen")
	m.listening = true
	m.feed.doubt()
	m.compares++
}

func (m *model) receive(p broker.Message) {
	m.note("  handed kind %d %s at %+v", p.Kind, p.Payload, p.Position)
	m.got = append(m.got, p)
	if p.Kind == broker.Lost {
		m.lost++
	}
}

// hear hands the feed the next message of pub/sub.
func (m *model) hear() {
	p := m.coming[0]
	m.coming = m.coming[1:]
	m.note("hear %s at %+v", p.Payload, p.Position)
	if missing, _ := m.feed.take(p, m.receive); missing {
		m.ask(m.feed.wants())
	}
}

func (m *model) ask(n need) {
	if !m.feed.fetching {
		m.feed.fetching = true
		m.queue = append(m.queue, fetch{m.feed, n})
	}
}

// send has Redis answer the next question. The answer arrives later.
func (m *model) send() {
	if m.compares > 0 {
		m.compares--
		_, believed, _ := m.feed.believed()
		at := &record.Record{Position: m.record.Position, Forks: slices.Clone(m.record.Forks)}
		m.sent = append(m.sent, func() {
			m.note("compared with %+v", at.Position)
			if believed == at.Epoch+" "+offsetText(at.Offset) {
				at = nil // that much the script leaves out
			}
			missing, again := m.feed.compare(at, m.receive)
			if missing {
				m.ask(m.feed.wants())
			}
			if again {
				m.compares++
			}
		})
		return
	}
	f := m.queue[0]
	m.queue = m.queue[1:]
	if _, ok := m.feed.ask(); !ok {
		m.feed.fetching = false
		return
	}
	m.sendFetch(f)
}

func (m *model) sendFetch(f fetch) {
	if end := f.need.fork; end.Epoch != "" {
		m.noteFork(end)
	}
	a := &answer{Record: m.record, exists: true, asked: f.need.from}
	a.Forks = slices.Clone(m.record.Forks)
	most := 1 + m.rand.IntN(6)
	for _, k := range m.kept {
		if k.Position.Offset <= f.need.from {
			continue
		}
		if len(a.messages) == most {
			a.more = true
			break
		}
		k.Position.Epoch = m.record.Epoch
		a.messages = append(a.messages, k)
	}
	m.note("read after %d: %d messages, more %v, at %+v", a.asked, len(a.messages), a.more, a.Position)
	m.sent = append(m.sent, func() {
		m.note("fetched what came after %d", a.asked)
		m.feed.fetching = false
		if next := m.feed.fetched(a, m.receive); next.more {
			m.ask(next)
		}
	})
}

// noteFork is forkScript.
func (m *model) noteFork(seen broker.Position) {
	if m.record.Epoch == seen.Epoch {
		if m.record.Offset < seen.Offset {
			m.fork("!")
		}
		return
	}
	for i := range m.record.Forks {
		if f := &m.record.Forks[i]; f.Epoch == seen.Epoch && f.Offset < seen.Offset {
			f.Lossy = true
		}
	}
}

func (m *model) step() {
	switch n := m.rand.IntN(100); {
	case n < 30:
		m.publish(m.rand.IntN(3) > 0)
	case n < 60 && len(m.coming) > 0:
		m.hear()
	case n < 75 && m.compares+len(m.queue) > 0 && len(m.sent) == 0: // one round trip at a time
		m.send()
	case n < 90 && len(m.sent) > 0:
		m.sent[0]()
		m.sent = m.sent[1:]
	case n < 92 && m.listening:
		m.cut()
	case n < 97 && !m.listening:
		m.listen()
	case n < 98 && m.listening:
		m.compares++ // a round
	case n == 98 && m.rand.IntN(3) == 0:
		m.rollBack()
	case n == 98:
		m.save()
	case n == 99:
		m.renamed = true
	}
}

// settle has everything arrive.
func (m *model) settle() {
	if !m.listening {
		m.listen()
	}
	for n := 0; len(m.coming)+m.compares+len(m.queue)+len(m.sent) > 0; n++ {
		switch {
		case n > 10_000:
			m.fail("it does not come to rest")
		case len(m.coming) > 0:
			m.hear()
		case m.compares+len(m.queue) > 0 && len(m.sent) == 0:
			m.send()
		default:
			m.sent[0]()
			m.sent = m.sent[1:]
		}
	}
}

// check holds what was handed over to the promises.
func (m *model) check() {
	if m.feed.state != live || len(m.feed.waiting) > 0 {
		m.fail("at rest the feed is in state %d, %d messages wait", m.feed.state, len(m.feed.waiting))
	}
	if m.lost > 0 && m.bound == 1000 && !m.rolled {
		m.fail("told of a loss, though nothing was lost")
	}
	if at := m.feed.at; at != m.record.Position {
		m.fail("at rest the feed is at %+v, the stream at %+v", at, m.record.Position)
	}
	var last broker.Position
	seen, heard := map[broker.Position]string{}, map[string]bool{}
	highest := 0 // of the kept messages
	for i, p := range m.got {
		number := 0
		_, _ = fmt.Sscan(string(p.Payload), &number)
		switch {
		case (i == 0) != (p.Kind == broker.Opened):
			m.fail("call %d is of kind %d", i, p.Kind)
		case p.Kind != broker.Published:
			last = p.Position
			continue
		case heard[string(p.Payload)]:
			m.fail("%s came twice", p.Payload)
		case p.Position.Offset == 0:
			heard[string(p.Payload)] = true
			continue
		case p.Position.Offset != last.Offset+1:
			m.fail("%s at %+v came after %+v", p.Payload, p.Position, last)
		case seen[p.Position] != "":
			m.fail("%+v is %s and %s", p.Position, seen[p.Position], p.Payload)
		case number < highest:
			m.fail("%s came after a later one", p.Payload)
		}
		last, seen[p.Position], heard[string(p.Payload)], highest = p.Position, string(p.Payload), true, max(highest, number)
	}
	m.checkPlain()
	m.checkWhole()
}

// checkPlain wants that no kept message follows one that is not kept and was published
// after it.
func (m *model) checkPlain() {
	plain := 0
	for _, p := range m.got {
		number := 0
		_, _ = fmt.Sscan(string(p.Payload), &number)
		switch {
		case p.Kind == broker.Lost:
			plain = 0
		case p.Kind == broker.Published && p.Position.Offset == 0:
			plain = max(plain, number)
		case p.Kind == broker.Published && number < plain:
			m.fail("%s was kept, and came after %d, which was not and is later", p.Payload, plain)
		}
	}
}

// checkWhole wants all messages that Redis has since the last loss, or since it was opened.
func (m *model) checkWhole() {
	since := broker.Position{}
	final := map[uint64]string{}
	for _, p := range m.got {
		if p.Kind != broker.Published {
			since = p.Position
			clear(final)
		} else if p.Position.Offset > 0 {
			final[p.Position.Offset] = string(p.Payload)
		}
	}
	for _, k := range m.kept {
		if k.Position.Offset > since.Offset && final[k.Position.Offset] != string(k.Payload) {
			m.fail("Redis has %s at %d, and the receiver has %q, since %+v", k.Payload, k.Position.Offset, final[k.Position.Offset], since)
		}
	}
}

// Messages come live and fetched, late, in parts, twice or not at all, over cuts, forks and
// losses, in every order that chance finds.
func TestFeed_KeepsItsPromisesInAnyOrder(t *testing.T) {
	const seeds = 4000
	lost, whole := 0, 0
	for seed := range uint64(seeds) {
		m := newModel(t, seed)
		m.note("seed %d", seed)
		m.listen()
		for range 150 {
			m.step()
		}
		m.settle()
		m.check()
		if m.lost > 0 {
			lost++
		} else {
			whole++
		}
	}
	if lost < seeds/20 || whole < seeds/20 {
		t.Errorf("%d runs with a loss and %d without say little", lost, whole)
	}
}
