package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub/internal/answers"
	"github.com/pushcart/pushcart/hub/internal/envelope"
	"github.com/pushcart/pushcart/internal/plainjson"
)

// gatherTimeout is how long other nodes have to answer (SPEC §11 Push API).
const gatherTimeout = time.Second

// Operations of a request between nodes.
const (
	opDescribe    = "describe"    // → Connections
	opDisconnect  = "disconnect"  // ends them
	opSetState    = "set_state"   // of one connection
	opSubscribe   = "subscribe"   // one connection to a channel
	opUnsubscribe = "unsubscribe" // and back
	// All connections of a user, those to come too. They end each other, so that both wait
	// for what was received before, and keep their order.
	opSubscribeUser   = "subscribe_user"
	opUnsubscribeUser = "unsubscribe_user"
	opChannels        = "channels" // → Channels
	opNode            = "node"     // → About
	// What the node has to tell the backend → Waiting.
	opWaiting      = "waiting"
	opFindWaiting  = "find_waiting" // one by its id, and so below
	opHurryWaiting = "hurry_waiting"
	opDropWaiting  = "drop_waiting"
)

// request is a question or an order to the nodes of a topic.
type request struct {
	Number     uint64          `json:"number,omitempty"` // 0: no reply wanted
	From       string          `json:"from,omitempty"`
	Op         string          `json:"op"`
	Connection string          `json:"connection,omitempty"`
	Channel    string          `json:"channel,omitempty"` // or a pattern
	After      string          `json:"after,omitempty"`
	Most       int             `json:"most,omitempty"`
	Code       int             `json:"code,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	State      json.RawMessage `json:"state,omitempty"`
	Event      string          `json:"event,omitempty"` // its id
}

// kind says whether the request keeps its place among the pushes to its topic, or to
// all topics.
func (q *request) kind() byte {
	switch q.Op {
	case opDescribe, opChannels, opNode, opWaiting, opFindWaiting, opHurryWaiting, opDropWaiting:
		return envelope.QueryKind
	case opDisconnect, opUnsubscribe, opSubscribeUser, opUnsubscribeUser:
		return envelope.EndingKind
	}
	return envelope.OrderKind
}

// reply is one node's answer.
type reply struct {
	Request     uint64         `json:"request"`
	Node        string         `json:"node"`
	Connections []Info         `json:"connections,omitempty"`
	Full        bool           `json:"full,omitempty"` // too many channels
	Channels    []ChannelCount `json:"channels,omitempty"`
	Waiting     []Pending      `json:"waiting,omitempty"`
	More        bool           `json:"more,omitempty"` // others after the last of them
	About       *NodeInfo      `json:"about,omitempty"`
}

// NodeInfo is one node as GET /v1/nodes shows it.
type NodeInfo struct {
	NodeID      string    `json:"node_id"`
	Address     string    `json:"address,omitempty"`
	Version     string    `json:"version"`
	Start       time.Time `json:"start"`
	Connections int       `json:"connections"`
}

// serve does what a request says.
func (h *Hub) serve(topic string, b []byte) {
	var q request
	if err := json.Unmarshal(b, &q); err != nil {
		h.unreadable(topic, err)
		return
	}
	out := reply{Request: q.Number, Node: h.node}
	switch q.Op {
	case opNode:
		out.About = &NodeInfo{h.node, h.about.address, h.about.version, h.about.started.UTC(), h.Connections()}
	case opChannels:
		out.Channels, out.More = h.listChannels(&q)
	case opWaiting, opFindWaiting, opHurryWaiting, opDropWaiting:
		h.serveWaiting(&q, &out)
	case opSubscribe:
		h.serveSubscribe(&q, out)
		return
	case opSubscribeUser, opUnsubscribeUser:
		h.serveLasting(topic, &q, out)
		return
	default:
		for _, c := range h.asked(topic, &q) {
			h.serveOne(&q, c, &out)
		}
	}
	h.replyTo(&q, &out)
}

// asked are the connections that a request is about.
func (h *Hub) asked(topic string, q *request) []Conn {
	if q.Connection == "" {
		return h.here.AppendConns(nil, topic)
	}
	if c := h.Connection(q.Connection); c != nil {
		return []Conn{c}
	}
	return nil
}

func (h *Hub) serveOne(q *request, c Conn, out *reply) {
	switch q.Op {
	case opDisconnect:
		c.End(&Cause{Why: Disconnected, Code: q.Code, Reason: q.Reason})
	case opSetState:
		c.SetState(q.State)
	case opUnsubscribe:
		h.endSubscription(c, q.Channel)
	}
	if q.Number != 0 {
		out.Connections = append(out.Connections, c.Info())
	}
}

// serveSubscribe subscribes a connection of this node. It replies when the broker
// confirmed, which the lane does not wait for.
func (h *Hub) serveSubscribe(q *request, out reply) {
	c := h.Connection(q.Connection)
	if c == nil {
		h.replyTo(q, &out)
		return
	}
	if f, ok := c.(Follower); ok && c.Member().Follows() {
		h.serveFollow(q, f, out)
		return
	}
	topic := ChannelTopic + q.Channel
	if _, out.Full = h.here.Channels.Add(topic[len(ChannelTopic):], c, q.Most); out.Full {
		out.Connections = []Info{c.Info()}
		h.replyTo(q, &out)
		return
	}
	h.lanes.work.Go(func() {
		defer h.guard.Recover("subscription by a node", nil)
		ctx, cancel := context.WithTimeout(context.Background(), answerBy(uint64(gatherTimeout/time.Millisecond)))
		defer cancel()
		if err := h.subscribe(ctx, topic); err != nil {
			h.log.Debug("channel subscribed without the broker", "channel", q.Channel, "err", err)
		}
		if h.here.Table.Get(c.Member().Number()) == nil { // it left meanwhile
			h.withdraw(c)
			h.giveUp([]string{topic})
		} else {
			out.Connections = []Info{c.Info()}
		}
		h.replyTo(q, &out)
	})
}

// serveFollow is serveSubscribe for a connection that hears of it.
func (h *Hub) serveFollow(q *request, c Follower, out reply) {
	if h.here.Channels.Has(c.Member(), q.Channel) {
		out.Connections = []Info{c.Info()}
		h.replyTo(q, &out)
		return
	}
	h.Follow(c, q.Channel, Start{Anyway: true}, q.Most, func(f Followed, err error) {
		switch {
		case errors.Is(err, ErrFull):
			out.Full, out.Connections = true, []Info{c.Info()}
		case errors.Is(err, ErrNotFollowing): // it left meanwhile
		default:
			c.Send([]*Message{subscribedAt(q.Channel, f.Position)})
			out.Connections = []Info{c.Info()}
		}
		h.replyTo(q, &out)
	})
}

func (h *Hub) replyTo(q *request, out *reply) {
	if q.Number == 0 {
		return
	}
	b, err := plainjson.Append(envelope.Begin(envelope.ReplyKind), out)
	if err != nil { // a state that is not JSON cannot come in
		h.log.Error("reply to a node could not be written", "other_node", q.From, "err", err)
		return
	}
	if q.From == h.node {
		h.replied(b[2:])
		return
	}
	h.outgoing.Add(answers.Report{To: q.From, Reply: b})
}

// replied takes the JSON of a node's answer; false: it is not readable.
func (h *Hub) replied(b []byte) bool {
	var r reply
	if json.Unmarshal(b, &r) != nil {
		return false // of another version; who asked says that it is incomplete
	}
	h.waiters.Reply(r.Request, r)
	return true
}

// order tells all nodes of a topic and returns how many there are.
func (h *Hub) order(ctx context.Context, topic string, q *request) (nodes int, err error) {
	b, err := plainjson.Append(envelope.Begin(q.kind()), q)
	if err != nil {
		return 0, err
	}
	p := []broker.Publication{{Topic: topic, Payload: b}}
	h.broker.Publish(ctx, p)
	if p[0].Err != nil {
		return 0, fmt.Errorf("ask nodes: %w", p[0].Err)
	}
	if p[0].Nodes > 0 {
		h.lanes.published(ctx, h.lanes.to(topic, q.kind()))
	}
	return p[0].Nodes, nil
}
