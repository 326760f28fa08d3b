package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pushcart/pushcart/hub/internal/registry"
	"github.com/pushcart/pushcart/internal/glob"
	"github.com/pushcart/pushcart/internal/ids"
)

// What nodes are asked. Each call waits for the nodes concerned for at most a
// second; complete is false where one did not answer. Every error but those below
// means that the broker did not take the question.
var (
	// ErrNoConnection: there is none with this id.
	ErrNoConnection = errors.New("hub: no such connection")
	// ErrNoAnswer: the connection's node did not answer in time.
	ErrNoAnswer = errors.New("hub: the connection's node did not answer")
	// ErrFull: the connection has as many channels as it may have.
	ErrFull = errors.New("hub: too many channels")
)

// UserConnections describes the connections of a user, oldest first.
func (h *Hub) UserConnections(ctx context.Context, user string) (found []Info, complete bool, err error) {
	replies, complete, err := h.gather(ctx, UserTopic+user, request{Op: opDescribe})
	if err != nil {
		return nil, false, err
	}
	for _, r := range replies {
		found = append(found, r.Connections...)
	}
	slices.SortFunc(found, func(x, y Info) int {
		return cmp.Or(x.Since.Compare(y.Since), cmp.Compare(x.ConnectionID, y.ConnectionID))
	})
	return found, complete, nil
}

// Describe describes one connection, wherever it is.
func (h *Hub) Describe(ctx context.Context, connection string) (Info, error) {
	return h.askOne(ctx, request{Op: opDescribe, Connection: connection})
}

// ReplaceState replaces a connection's state (SPEC §5).
func (h *Hub) ReplaceState(ctx context.Context, connection string, state json.RawMessage) (Info, error) {
	return h.askOne(ctx, request{Op: opSetState, Connection: connection, State: state})
}

// Subscribe subscribes a connection to a channel. It fails with ErrFull if the connection
// has most channels already.
func (h *Hub) Subscribe(ctx context.Context, connection, channel string, most int) error {
	_, err := h.askOne(ctx, request{Op: opSubscribe, Connection: connection, Channel: channel, Most: most})
	return err
}

// Unsubscribe undoes Subscribe.
func (h *Hub) Unsubscribe(ctx context.Context, connection, channel string) error {
	_, err := h.askOne(ctx, request{Op: opUnsubscribe, Connection: connection, Channel: channel})
	return err
}

// Disconnect closes a connection, after every push that its node received earlier.
func (h *Hub) Disconnect(ctx context.Context, connection string, code int, reason string) error {
	_, err := h.askOne(ctx, request{Op: opDisconnect, Connection: connection, Code: code, Reason: reason})
	return err
}

// DisconnectUser closes the connections of a user and returns how many nodes were asked
// to.
func (h *Hub) DisconnectUser(ctx context.Context, user string, code int, reason string) (nodes int, err error) {
	return h.order(ctx, UserTopic+user, &request{Op: opDisconnect, Code: code, Reason: reason})
}

// DisconnectChannel closes the connections subscribed to a channel.
func (h *Hub) DisconnectChannel(ctx context.Context, channel string, code int, reason string) (nodes int, err error) {
	return h.order(ctx, ChannelTopic+channel, &request{Op: opDisconnect, Code: code, Reason: reason})
}

// Nodes describes all nodes, oldest first.
func (h *Hub) Nodes(ctx context.Context) (nodes []NodeInfo, complete bool, err error) {
	replies, complete, err := h.gather(ctx, registry.AllTopic, request{Op: opNode})
	if err != nil {
		return nil, false, err
	}
	nodes = []NodeInfo{}
	for _, r := range replies {
		if r.About != nil {
			nodes = append(nodes, *r.About)
		}
	}
	slices.SortFunc(nodes, func(x, y NodeInfo) int { return x.Start.Compare(y.Start) })
	return nodes, complete, nil
}

// ListChannels returns a page of the channels that match a pattern, ordered by name and
// starting after a name. next is the name to continue after, "" at the end.
func (h *Hub) ListChannels(ctx context.Context, match glob.Pattern, after string, limit int) (page []ChannelCount, next string, complete bool, err error) {
	replies, complete, err := h.gather(ctx, registry.AllTopic, request{Op: opChannels, Channel: match.String(), After: after, Most: limit})
	if err != nil {
		return nil, "", false, err
	}
	page, next = mergeChannels(replies, limit)
	return page, next, complete, nil
}

// askOne puts a request to the node of its connection and returns what it says.
func (h *Hub) askOne(ctx context.Context, q request) (Info, error) {
	node, _, ok := ids.ParseConnection(q.Connection)
	if !ok || node == h.node && h.Connection(q.Connection) == nil {
		return Info{}, ErrNoConnection
	}
	replies, complete, err := h.gather(ctx, registry.NodeTopic+node, q)
	switch {
	case err != nil:
		return Info{}, err
	case !complete:
		return Info{}, ErrNoAnswer
	case len(replies) == 0 || len(replies[0].Connections) == 0:
		return Info{}, ErrNoConnection
	case replies[0].Full:
		return Info{}, ErrFull
	}
	return replies[0].Connections[0], nil
}

// gather asks all nodes of a topic and returns what they say within the timeout;
// complete: all of them did.
func (h *Hub) gather(ctx context.Context, topic string, q request) (replies []reply, complete bool, err error) {
	w := h.waiters.Begin()
	defer w.End()
	deadline := time.Now().Add(gatherTimeout)
	q.Number, q.From = w.Number, h.node
	nodes, err := h.order(ctx, topic, &q)
	if err != nil {
		return nil, false, fmt.Errorf("ask nodes: %w", err)
	}
	w.Expect(nodes)
	complete = w.Wait(ctx, deadline)
	return w.Replies(), complete, nil
}
