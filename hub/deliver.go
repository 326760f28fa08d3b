package hub

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub/internal/answers"
	"github.com/pushcart/pushcart/hub/internal/envelope"
	"github.com/pushcart/pushcart/hub/internal/receipt"
	"github.com/pushcart/pushcart/hub/internal/registry"
)

const (
	// bigFanout is from how many connections on a message is delivered by several
	// goroutines, each on its own part of the connections.
	bigFanout = 256
	// sliceOfCrowd is how many of them each takes before it waits for the others.
	sliceOfCrowd = 128
	// yieldAfter is after how many frames a broadcast lets others have its core.
	yieldAfter = 64
)

// delivery is what a lane needs while it works; pooled.
type delivery struct {
	at    int // the next task
	conns []Conn
	batch []*Message
}

var deliveries = sync.Pool{New: func() any { return new(delivery) }}

// receive is the broker's Receiver. It must not wait.
func (h *Hub) receive(m broker.Message) {
	topic, payload := m.Topic, m.Payload
	if m.Kind != broker.Published {
		h.lanes.push(h.lanes.to(topic, envelope.PushKind), task{topic: topic, kind: m.Kind, position: m.Position, presence: m.Presence})
		return
	}
	switch kind := envelope.KindOf(payload); kind {
	case envelope.PushKind, envelope.OrderKind, envelope.QueryKind:
		h.lanes.push(h.lanes.to(topic, kind), task{topic: topic, payload: payload, position: m.Position})
	case envelope.EndingKind:
		h.lanes.pushLast(task{topic: topic, payload: payload})
	case envelope.BulkKind:
		if ok, err := h.bulks.Add(payload); err != nil {
			h.unreadable(topic, err)
		} else if !ok {
			h.lanes.dropped()
		}
	case envelope.ReceiptKind:
		n, err := envelope.ParseReceipt(payload)
		if err != nil {
			h.unreadable(topic, err)
			return
		}
		h.waiters.Receipt(n)
	case envelope.ReplyKind:
		if !h.replied(payload[2:]) {
			h.unreadable(topic, envelope.ErrUnreadable)
		}
	default:
		h.unreadable(topic, envelope.ErrUnreadable)
	}
}

// unreadable: the node that sent it is of another version, or no node at all.
func (h *Hub) unreadable(topic string, err error) {
	kind, _ := registry.SplitTopic(topic)
	h.rate.Warn("unreadable "+kind, "unreadable message between nodes; is another version running?", "topic", topic, "err", err)
}

// deliver takes tasks of one topic, in order, from d.at on.
func (h *Hub) deliver(d *delivery, tasks []task) {
	topic := tasks[0].topic
	for d.at < len(tasks) {
		t := &tasks[d.at]
		d.at++
		switch {
		case t.mark != nil:
			t.mark.reached()
			continue
		case t.presence != nil:
			h.flush(d, topic)
			h.tellMembers(d, t)
			continue
		case t.kind != broker.Published:
			h.flush(d, topic)
			h.moved(d, t)
			continue
		}
		payload := t.payload
		if envelope.KindOf(payload) != envelope.PushKind {
			h.flush(d, topic)
			h.serve(topic, payload[2:])
			continue
		}
		e, err := envelope.Parse(payload)
		switch {
		case err != nil:
			h.unreadable(topic, err)
		case e.Apart():
			h.flush(d, topic)
			h.deliverApart(d, t, &e)
		default:
			d.batch = append(d.batch, newMessage(t, &e))
		}
	}
	h.flush(d, topic)
}

func newMessage(t *task, e *envelope.Envelope) *Message {
	return &Message{
		Kind: e.Kind, Data: e.Payload, ID: e.ID, Event: e.Event, From: e.From, Ack: e.Ack, Topic: t.topic, Accepted: e.Accepted,
		Offset: t.position.Offset, Epoch: t.position.Epoch,
	}
}

// flush sends the batch to all connections of the topic.
func (h *Hub) flush(d *delivery, topic string) {
	if len(d.batch) == 0 {
		return
	}
	for {
		if s := h.followed.lock(topic); s != nil {
			h.sendFollowed(d, s)
			return
		}
		var ok bool
		if d.conns, ok = h.appendUnfollowed(d.conns, topic); ok {
			h.send(d)
			return
		}
	}
}

// without takes a connection out; false: it was not there.
func (d *delivery) without(c Conn) bool {
	n := len(d.conns)
	d.conns = slices.DeleteFunc(d.conns, func(other Conn) bool { return other == c })
	return len(d.conns) < n
}

// deliverApart delivers a push that not all connections of the topic get, or that
// wants a receipt.
func (h *Hub) deliverApart(d *delivery, t *task, e *envelope.Envelope) {
	names, ok := h.listed(t.topic, e)
	if !ok {
		return
	}
	m := newMessage(t, e)
	note := envelope.Receipt{Matched: h.collect(d, e, m, &names)}
	d.batch = append(d.batch, m)
	to := e.Receipt
	switch {
	case to.Node == "":
		h.send(d)
	case to.Wait == 0:
		h.send(d)
		h.receipt(to, note)
	default:
		wait := answerBy(to.Wait)
		m.Receipt = h.receipts.Begin(len(d.conns), wait, func(r *receipt.Receipt) {
			defer h.guard.Recover("receipt of a push", nil)
			note.Delivered, note.Slow, note.Acked = r.Counts()
			h.receipt(to, note)
		})
		if m.Ack {
			h.acks.Expect(m.ID, followersOf(d.conns), m.Receipt, wait)
		}
		h.send(d)
		m.Receipt.Begun()
	}
}

// receipt sends a receipt to the node that waits for it.
func (h *Hub) receipt(to envelope.ReturnAddress, n envelope.Receipt) {
	n.Request, n.Node, n.Messages = to.Request, h.node, 1
	if to.Node == h.node {
		h.waiters.Receipt(n)
		return
	}
	h.outgoing.Add(answers.Report{To: to.Node, Note: n})
}

// followersOf are the numbers of those that confirm messages.
func followersOf(conns []Conn) (numbers []uint64) {
	for _, c := range conns {
		if m := c.Member(); m.Follows() {
			numbers = append(numbers, m.Number())
		}
	}
	return numbers
}

// Acknowledge records a client's confirmation of the message with this id. It counts
// once, and only if the client was sent the message and asked to confirm it.
func (h *Hub) Acknowledge(m *Member, id string) { h.acks.Confirm(id, m.Number()) }

// answerBy is how long a node waits for its connections when the publisher waits
// for so many milliseconds: the answer needs some time for its way back.
func answerBy(wait uint64) time.Duration {
	d := time.Duration(min(wait, uint64(MaxWait/time.Millisecond))) * time.Millisecond
	return d - min(d/5, 100*time.Millisecond)
}

// collect finds the connections that get a message. matched: there are some that its
// topic is for, whoever is left out.
func (h *Hub) collect(d *delivery, e *envelope.Envelope, m *Message, names *envelope.Listed) (matched bool) {
	var whole map[Conn]bool // who gets what is kept, also if it comes by other targets
	if !e.One {
		whole = h.collectTopic(d, m)
	} else if c := h.here.Table.Get(e.Connection); c != nil {
		d.conns = append(d.conns, c)
	}
	matched = len(d.conns) > 0 || m.Topic == registry.AllTopic
	if out := leftOutBy(names, m.Topic); !out.empty() {
		d.conns = slices.DeleteFunc(d.conns, func(c Conn) bool { return out.has(h, c.Member(), whole[c]) })
	}
	return matched
}

// listed are the names that come with e, in a bulk or with itself.
func (h *Hub) listed(topic string, e *envelope.Envelope) (names envelope.Listed, ok bool) {
	if e.Bulk == nil {
		return envelope.NewListed(&e.Except, &e.Skip), true
	}
	b, err := h.bulks.Get(e.Bulk)
	switch {
	case err != nil:
		h.unreadable(topic, err)
		return envelope.Listed{}, false
	case b == nil && e.Bulk.Whole:
		// The node fetches later what it did not hear, but for bulks. A client that gets
		// the push twice is better off than one that does not get it.
		h.rate.Warn("no bulk of a stream", "a push may be delivered twice to connections that match several of its targets: the list of these did not reach this node")
		return envelope.NewListed(&e.Except, &e.Skip), true
	case b == nil: // it found no room, or came while the subscription was broken
		h.metrics.FanoutDropped.Inc()
		h.rate.Warn("no bulk", "messages dropped: the push that they belong to did not reach this node")
		return envelope.Listed{}, false
	}
	names = b.Listed
	if e.Bulk.Whole {
		names.ExceptUsers, names.ExceptConnections = registry.NewNameSet(e.Except.Users), registry.NewNameSet(e.Except.Connections)
	} else {
		e.Payload = b.Payload
	}
	return names, true
}

// send gives the batch to every connection, and empties both.
func (h *Hub) send(d *delivery) {
	if len(d.conns) >= bigFanout {
		h.sendBig(d.conns, d.batch)
	} else {
		h.sendEach(d.conns, d.batch)
	}
	if len(d.conns) > 0 && d.batch[0].Presence == nil {
		now := time.Now().UnixNano()
		for _, m := range d.batch { // one observation for each push (SPEC §10)
			h.metrics.PushToWrite.Observe(float64(max(0, now-m.Accepted)) / 1e9)
		}
	}
	d.reset()
}

// reset empties the delivery.
func (d *delivery) reset() {
	clear(d.conns)
	clear(d.batch)
	d.conns, d.batch = d.conns[:0], d.batch[:0]
	if cap(d.conns) > 1<<17 {
		d.conns = nil
	}
}

// sendBig splits a large crowd among the cores, slice by slice; each connection is
// in one part, so its order holds. Who is done with his part of a slice waits for
// the others, and while he does his core has nothing to run and looks at the
// network. Cores that always have something to run leave that to the runtime's
// monitor, which looks every 10 ms: as long did pushes to single users wait.
func (h *Hub) sendBig(conns []Conn, batch []*Message) {
	parts := runtime.GOMAXPROCS(0)
	var others sync.WaitGroup
	for len(conns) > 0 {
		slice := conns[:min(parts*sliceOfCrowd, len(conns))]
		conns = conns[len(slice):]
		for i := 1; i < parts; i++ {
			others.Add(1)
			go h.helpSend(&others, slice[i*len(slice)/parts:(i+1)*len(slice)/parts], batch)
		}
		h.sendEach(slice[:len(slice)/parts], batch)
		others.Wait()
	}
}

func (h *Hub) helpSend(others *sync.WaitGroup, conns []Conn, batch []*Message) {
	defer others.Done()
	h.sendEach(conns, batch)
}

// sendEach yields now and then: all cores may be busy with broadcasts, and a push
// to one user should not wait for its turn until the scheduler takes it. A connection
// that panics costs the others nothing.
func (h *Hub) sendEach(conns []Conn, batch []*Message) {
	done, frames := 0, 0
	h.guard.Loop("delivery to a connection", func() {
		for done < len(conns) {
			c := conns[done]
			done++
			c.Send(batch)
			if frames += len(batch); frames >= yieldAfter {
				frames = 0
				runtime.Gosched()
			}
		}
	})
}
