package push

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/apierror"
)

const (
	// MaxState bounds the state that a backend attaches to a connection, in bytes
	// (SPEC §5).
	MaxState = 2 << 10
	// maxReason is what fits into a Close frame beside the code (RFC 6455 §5.5).
	maxReason = 123
)

// userAnswer is GET /v1/users/{id}.
type userAnswer struct {
	UserID      string     `json:"user_id"`
	Online      bool       `json:"online"`
	Connections []userConn `json:"connections"`
	Complete    bool       `json:"complete"`
}

// userConn is what of an Info is shown there.
type userConn struct {
	ConnectionID string    `json:"connection_id"`
	NodeID       string    `json:"node_id"`
	Since        time.Time `json:"since"`
	RemoteIP     string    `json:"remote_ip"`
	Channels     []string  `json:"channels"`
}

func (a *API) getUser(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	replies, complete, err := a.hub.gather(a.ctx, userTopic+names[0], request{Op: opDescribe})
	if err != nil {
		return unconfirmed(err)
	}
	out := userAnswer{UserID: names[0], Connections: []userConn{}, Complete: complete}
	for _, r := range replies {
		for _, c := range r.Connections {
			out.Connections = append(out.Connections, userConn{c.ConnectionID, c.NodeID, c.Since, c.RemoteIP, c.Channels})
		}
	}
	slices.SortFunc(out.Connections, func(x, y userConn) int {
		return cmp.Or(x.Since.Compare(y.Since), cmp.Compare(x.ConnectionID, y.ConnectionID))
	})
	out.Online = len(out.Connections) > 0
	return respond(ctx, out)
}

// ask puts a request to the node of one connection and returns its answer.
func (a *API) ask(id string, q request) (reply, *apierror.Error) {
	missing := apierror.New(apierror.NotFound, "no such connection")
	node, _, ok := parseConnectionID(id)
	if !ok || node == a.hub.node && a.hub.Connection(id) == nil {
		return reply{}, missing
	}
	q.Connection = id
	replies, complete, err := a.hub.gather(a.ctx, nodeTopic+node, q)
	switch {
	case err != nil:
		return reply{}, unconfirmed(err)
	case !complete:
		return reply{}, apierror.New(apierror.Unavailable, "the connection's node did not answer")
	case len(replies) == 0 || len(replies[0].Connections) == 0:
		return reply{}, missing
	}
	return replies[0], nil
}

func (a *API) getConnection(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	r, err := a.ask(names[0], request{Op: opDescribe})
	if err != nil {
		return err
	}
	return respond(ctx, r.Connections[0])
}

func (a *API) patchConnection(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	var state json.RawMessage
	if err := unmarshal(ctx.PostBody(), map[string]func(*jsonReader) *fault{
		"state": func(r *jsonReader) *fault {
			b, f := r.value()
			state = slices.Clone(b)
			return f
		},
	}); err != nil {
		return err
	}
	switch {
	case state == nil:
		return apierror.Invalid("state", "is wanted")
	case len(state) > MaxState:
		return &apierror.Error{Code: apierror.TooLarge, Message: "state: larger than 2 KiB", Field: "state"}
	}
	r, err := a.ask(names[0], request{Op: opSetState, State: state})
	if err != nil {
		return err
	}
	return respond(ctx, r.Connections[0])
}

// parseDisconnect reads the body of the three disconnect routes, which may be
// absent.
func parseDisconnect(body []byte) (request, *apierror.Error) {
	q := request{Op: opDisconnect, Code: 1000}
	if len(body) == 0 {
		return q, nil
	}
	err := unmarshal(body, map[string]func(*jsonReader) *fault{
		"code": func(r *jsonReader) *fault {
			b, f := r.value()
			if f == nil && json.Unmarshal(b, &q.Code) != nil {
				q.Code = 0
			}
			return f
		},
		"reason": func(r *jsonReader) *fault {
			if r.null() {
				return nil
			}
			b, f := r.text("reason")
			q.Reason = string(b)
			return f
		},
	})
	switch c := q.Code; {
	case err != nil:
		return q, err
	case c != 1000 && c != 3000 && c != 3003 && (c < 4100 || c > 4999):
		return q, apierror.Invalid("code", "must be 1000, 3000, 3003 or 4100 to 4999")
	case len(q.Reason) > maxReason || !utf8.ValidString(q.Reason):
		return q, apierror.Invalid("reason", "must not be longer than 123 bytes")
	}
	return q, nil
}

// nodesAnswer is the answer of the disconnect routes.
type nodesAnswer struct {
	Nodes int `json:"nodes"`
}

func (a *API) disconnectTopic(ctx *fasthttp.RequestCtx, topic string) *apierror.Error {
	q, bad := parseDisconnect(ctx.PostBody())
	if bad != nil {
		return bad
	}
	nodes, err := a.hub.order(a.ctx, topic, &q)
	if err != nil {
		return unconfirmed(err)
	}
	return respond(ctx, nodesAnswer{nodes})
}

func (a *API) disconnectUser(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return a.disconnectTopic(ctx, userTopic+names[0])
}

func (a *API) disconnectChannel(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return a.disconnectTopic(ctx, channelTopic+names[0])
}

func (a *API) disconnectConnection(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	q, bad := parseDisconnect(ctx.PostBody())
	if bad != nil {
		return bad
	}
	switch _, err := a.ask(names[0], q); {
	case err == nil:
		return respond(ctx, nodesAnswer{1})
	case err.Code == apierror.NotFound: // nobody there is not an error
		return respond(ctx, nodesAnswer{0})
	default:
		return err
	}
}

func (a *API) putSubscription(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	r, err := a.ask(names[0], request{Op: opSubscribe, Channel: names[1], Most: a.most})
	if err != nil {
		return err
	}
	if r.Full {
		return apierror.New(apierror.RateLimited, "the connection has limits.channels_per_connection channels")
	}
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

func (a *API) deleteSubscription(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	if _, err := a.ask(names[0], request{Op: opUnsubscribe, Channel: names[1]}); err != nil {
		return err
	}
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}
