package push

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pushcart/pushcart/broker"
)

// gatherTimeout is how long other nodes have to answer a question (SPEC §11 Push
// API).
const gatherTimeout = time.Second

// Operations of a request between nodes.
const (
	opDescribe    = "describe"    // → Connections
	opDisconnect  = "disconnect"  // ends them
	opSetState    = "set_state"   // of one connection
	opSubscribe   = "subscribe"   // one connection to a channel
	opUnsubscribe = "unsubscribe" // and back
	opNode        = "node"        // → Node
)

// request is a question or an order to the nodes of a topic.
type request struct {
	Number     uint64          `json:"number,omitempty"` // 0: no reply wanted
	From       string          `json:"from,omitempty"`
	Op         string          `json:"op"`
	Connection string          `json:"connection,omitempty"`
	Channel    string          `json:"channel,omitempty"`
	Most       int             `json:"most,omitempty"`
	Code       int             `json:"code,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	State      json.RawMessage `json:"state,omitempty"`
}

// reply is one node's answer.
type reply struct {
	Request     uint64   `json:"request"`
	Node        string   `json:"node"`
	Connections []Info   `json:"connections,omitempty"`
	Full        bool     `json:"full,omitempty"` // too many channels
	Count       int      `json:"count,omitempty"`
	Start       unixTime `json:"start,omitempty"`
	Version     string   `json:"version,omitempty"`
}

type unixTime int64

// serve does what a request says, in the lane of its topic: after the pushes that
// came before it.
func (h *Hub) serve(topic string, b []byte) {
	var q request
	if err := json.Unmarshal(b, &q); err != nil {
		h.log.Warn("unreadable request between nodes", "topic", topic)
		return
	}
	var conns []Conn
	if q.Connection != "" {
		conns = h.named(nil, []string{q.Connection})
	} else {
		conns = h.appendConns(nil, topic)
	}
	out := reply{Request: q.Number, Node: h.node}
	for _, c := range conns {
		h.serveOne(&q, c, &out)
	}
	if q.Op == opNode {
		out.Count, out.Start, out.Version = h.Connections(), unixTime(h.started.UnixMilli()), h.version
		out.Connections = nil
	}
	if q.Number == 0 {
		return
	}
	payload, err := json.Marshal(out)
	if err != nil { // a State that is no JSON cannot come in
		h.log.Error("reply to a node could not be written", "err", err)
		return
	}
	if q.From == h.node {
		h.answers.reply(payload)
		return
	}
	h.sendBack(q.From, append([]byte{envelopeVersion, envelopeReply}, payload...))
}

func (h *Hub) serveOne(q *request, c Conn, out *reply) {
	switch q.Op {
	case opDisconnect:
		c.Close(q.Code, q.Reason)
	case opSetState:
		c.SetState(q.State)
	case opSubscribe:
		out.Full = !h.subscribeOne(c, q.Channel, q.Most)
	case opUnsubscribe:
		h.channels.remove(q.Channel, c, h.vacate)
	case opNode:
		return
	}
	if q.Number != 0 {
		out.Connections = append(out.Connections, c.Info())
	}
}

// subscribeOne subscribes a connection of this node; false: it has as many
// channels as it may. The broker's confirmation is not waited for: a lane must
// not stop.
func (h *Hub) subscribeOne(c Conn, name string, most int) bool {
	added, full := h.channels.add(name, c, most)
	if full {
		return false
	}
	if added {
		if h.table.get(c.Member().id) == nil { // it left meanwhile
			h.channels.remove(name, c, h.vacate)
			return true
		}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = h.broker.Subscribe(ended, channelTopic+name) // wanted from now on; made soon
	}
	return true
}

// gather asks all nodes of a topic and returns what they say within the timeout;
// complete: all of them did.
func (h *Hub) gather(ctx context.Context, topic string, q request) (replies []reply, complete bool, err error) {
	w := h.answers.begin()
	defer w.end()
	q.Number, q.From = w.number, h.node
	nodes, err := h.order(ctx, topic, q)
	if err != nil {
		return nil, false, err
	}
	w.expect(nodes)
	complete = w.wait(ctx, gatherTimeout)
	return w.heard(), complete, nil
}

// order tells all nodes of a topic and returns how many there are.
func (h *Hub) order(ctx context.Context, topic string, q request) (nodes int, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return 0, fmt.Errorf("write request: %w", err)
	}
	p := []broker.Publication{{Topic: topic, Payload: append([]byte{envelopeVersion, envelopeRequest}, body...)}}
	h.broker.Publish(ctx, p)
	return p[0].Nodes, p[0].Err
}

// ofConnection is the inbox of a connection's node; ok is false for what cannot
// be a connection's id.
func ofConnection(id string) (topic string, ok bool) {
	node, _, ok := parseConnectionID(id)
	return nodeTopic + node, ok
}
