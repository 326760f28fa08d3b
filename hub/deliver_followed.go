package hub

import (
	"github.com/pushcart/pushcart/broker"
)

// appendUnfollowed appends the connections of a topic that nobody follows. false: somebody
// began to meanwhile, who may be among them; then it appends none.
func (h *Hub) appendUnfollowed(dst []Conn, topic string) (conns []Conn, ok bool) {
	conns = h.here.AppendConns(dst, topic)
	if h.followed.get(topic) == nil {
		return conns, true
	}
	clear(conns[len(dst):])
	return dst, false
}

// moved takes what the broker says of a stream's position. Only who follows hears of a
// gap: raw clients have no positions (SPEC §11).
func (h *Hub) moved(d *delivery, t *task) {
	s := h.followed.lock(t.topic)
	if s == nil {
		return
	}
	s.moved(t.kind, t.position)
	if t.kind == broker.Lost {
		d.conns = s.appendLive(d.conns)
	}
	s.mu.Unlock()
	if len(d.conns) > 0 {
		h.metrics.Gaps.Add(float64(len(d.conns)))
		d.batch = append(d.batch, gapAt(t.topic, t.position))
		h.sendEach(d.conns, d.batch)
		d.reset()
	}
}

// sendFollowed sends the batch to the connections of a topic that some follow, whose stream
// is locked and will not be after it. Those that are not where the stream is get less.
func (h *Hub) sendFollowed(d *delivery, s *stream) {
	h.pass(s, d.batch)
	d.conns = h.here.AppendConns(d.conns, s.topic)
	late := s.late(d.batch)
	s.mu.Unlock()
	for _, l := range late {
		if rest := d.batch[l.from:]; d.without(l.conn) && len(rest) > 0 {
			h.sendEach([]Conn{l.conn}, rest)
		}
	}
	h.send(d)
}

// pass notes that a batch goes to the connections of a stream, whose lock is held. Where
// something is missing, who follows reads it, and the batch, from what is kept.
func (h *Hub) pass(s *stream, batch []*Message) {
	if s.holed(batch) {
		if keep := h.rules.Load().Retention(s.topic); keep.Keeps() {
			for _, c := range s.bringAlong(keep) {
				h.catchUp.push(c)
			}
		}
	}
	s.pass(batch)
}

// collectTopic finds the connections of a message's topic. It returns those that follow it,
// if the message is kept.
func (h *Hub) collectTopic(d *delivery, m *Message) (whole map[Conn]bool) {
	for {
		if s := h.followed.lock(m.Topic); s != nil {
			return h.collectFollowed(d, s, m)
		}
		var ok bool
		if d.conns, ok = h.appendUnfollowed(d.conns, m.Topic); ok {
			return nil
		}
	}
}

// collectFollowed is collectTopic where some follow, whose stream is locked and will not be
// after it.
func (h *Hub) collectFollowed(d *delivery, s *stream, m *Message) (whole map[Conn]bool) {
	defer s.mu.Unlock()
	batch := []*Message{m}
	h.pass(s, batch)
	d.conns = h.here.AppendConns(d.conns, s.topic)
	for _, l := range s.late(batch) {
		if l.from > 0 {
			d.without(l.conn)
		}
	}
	if m.Offset == 0 {
		return nil
	}
	whole = make(map[Conn]bool, len(s.followers))
	for i := range s.followers {
		whole[s.followers[i].conn] = true
	}
	return whole
}
