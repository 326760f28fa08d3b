package push

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// bigFanout is from how many connections on a message is delivered by several
// goroutines, each on its own part of the connections.
const bigFanout = 512

// delivery is what a lane needs while it works; pooled.
type delivery struct {
	conns []Conn
	batch []*Message
}

var deliveries = sync.Pool{New: func() any { return new(delivery) }}

// receive is the broker's Receiver. It must not wait.
func (h *Hub) receive(topic string, payload []byte) {
	switch envelopeKind(payload) {
	case envelopePush, envelopeRequest:
		h.lanes.push(task{topic: topic, payload: payload})
	case envelopeReceipt:
		if n, err := parseReceipt(payload); err == nil {
			h.answers.receipt(n)
			return
		}
		h.log.Warn("unreadable message between nodes", "topic", topic)
	case envelopeReply:
		h.answers.reply(payload[2:])
	default:
		h.log.Warn("message of another version between nodes", "topic", topic)
	}
}

// deliver takes tasks of one topic, in order.
func (h *Hub) deliver(d *delivery, tasks []task) {
	defer d.reset()
	for _, t := range tasks {
		if envelopeKind(t.payload) == envelopeRequest {
			h.flush(d, t.topic)
			h.serve(t.topic, t.payload[2:])
			continue
		}
		e, err := parseEnvelope(t.payload)
		if err != nil {
			h.log.Warn("unreadable message between nodes", "topic", t.topic)
			continue
		}
		if e.targets == nil && e.receipt == nil {
			d.batch = append(d.batch, newMessage(&e))
			continue
		}
		h.flush(d, t.topic)
		h.deliverOne(d, t.topic, &e)
	}
	h.flush(d, tasks[0].topic)
}

func (d *delivery) reset() {
	clear(d.conns[:cap(d.conns)])
	clear(d.batch[:cap(d.batch)])
	if cap(d.conns) > 1<<15 {
		d.conns = nil
	}
	d.conns, d.batch = d.conns[:0], d.batch[:0]
}

func newMessage(e *envelope) *Message {
	return &Message{Kind: e.kind, Data: e.payload, Accepted: e.accepted}
}

// flush sends the batch to all connections of the topic.
func (h *Hub) flush(d *delivery, topic string) {
	if len(d.batch) == 0 {
		return
	}
	d.conns = h.appendConns(d.conns[:0], topic)
	send(d.conns, d.batch)
	h.written(d.batch)
	clear(d.batch)
	d.batch = d.batch[:0]
}

// deliverOne delivers a push that has several targets or wants a receipt.
func (h *Hub) deliverOne(d *delivery, topic string, e *envelope) {
	d.conns = h.appendConns(d.conns[:0], topic)
	if e.targets != nil {
		if e.targets.connections != nil && topic == nodeTopic+h.node {
			d.conns = h.named(d.conns[:0], e.targets.connections)
		}
		d.conns = slices.DeleteFunc(d.conns, func(c Conn) bool { return !h.matches(c, e) })
	}
	m := newMessage(e)
	if r := e.receipt; r != nil {
		matched, to := len(d.conns) > 0, *r
		m.receipt = newReceipt(time.Duration(r.wait)*time.Millisecond, func(delivered, slow uint64) {
			h.answer(to, receiptNote{request: to.request, node: h.node, matched: matched, delivered: delivered, slow: slow})
		})
		m.receipt.expect(len(d.conns))
	}
	d.batch = append(d.batch[:0], m)
	send(d.conns, d.batch)
	h.written(d.batch)
	if m.receipt != nil {
		m.receipt.begun()
		if e.receipt.wait == 0 {
			m.receipt.finish()
		}
	}
	clear(d.batch)
	d.batch = d.batch[:0]
}

// written observes how long it took, once for each push.
func (h *Hub) written(batch []*Message) {
	now := time.Now().UnixNano()
	for _, m := range batch {
		h.metrics.PushToWrite.Observe(float64(now-m.Accepted) / 1e9)
	}
}

// appendConns appends the connections that a topic is for.
func (h *Hub) appendConns(dst []Conn, topic string) []Conn {
	switch kind, name := splitTopic(topic); kind {
	case userTopic:
		return h.users.appendTo(dst, name)
	case channelTopic:
		return h.channels.appendTo(dst, name)
	case topicAll:
		return h.table.appendTo(dst)
	}
	return dst
}

// named appends those of this node's connections that have one of the ids.
func (h *Hub) named(dst []Conn, ids []string) []Conn {
	for _, id := range ids {
		if c := h.connection(id); c != nil {
			dst = append(dst, c)
		}
	}
	return dst
}

// connection finds a connection of this node, nil if there is none.
func (h *Hub) connection(id string) Conn {
	node, n, ok := parseConnectionID(id)
	if !ok || node != h.node {
		return nil
	}
	return h.table.get(n)
}

// matches says whether the target at e.index is the first of the push that c
// belongs to, and c is not excepted. As every node decides it alike, a connection
// that several targets match gets one frame without anybody remembering what was
// sent.
func (h *Hub) matches(c Conn, e *envelope) bool {
	t, m := e.targets, c.Member()
	if slices.Contains(t.exceptUsers, m.user) && m.user != "" || len(t.exceptConnection) > 0 && slices.Contains(t.exceptConnection, m.ID()) {
		return false
	}
	i := e.index
	if i == 0 {
		return true
	}
	if slices.Contains(t.users[:min(i, len(t.users))], m.user) && m.user != "" {
		return false
	}
	if i -= len(t.users); i > 0 && h.channels.has(m, t.channels[:min(i, len(t.channels))]) {
		return false
	}
	if i -= len(t.channels); i > 0 && len(t.connections) > 0 {
		// All connections of a push are one target: each is named once.
		return !slices.Contains(t.connections, m.ID())
	}
	return true
}

// send gives the batch to every connection. A large crowd is split among the
// cores; each connection is in one part, so its order holds.
func send(conns []Conn, batch []*Message) {
	parts := runtime.GOMAXPROCS(0)
	if len(conns) < bigFanout || parts == 1 {
		for _, c := range conns {
			c.Send(batch)
		}
		return
	}
	var wg sync.WaitGroup
	for i := range parts {
		part := conns[i*len(conns)/parts : (i+1)*len(conns)/parts]
		wg.Go(func() {
			for _, c := range part {
				c.Send(batch)
			}
		})
	}
	wg.Wait()
}
