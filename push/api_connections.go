package push

import (
	"encoding/json"
	"errors"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/hub"
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
	found, complete, err := a.hub.UserConnections(a.ctx, names[0])
	if err != nil {
		return unconfirmed(err)
	}
	out := userAnswer{UserID: names[0], Online: len(found) > 0, Connections: []userConn{}, Complete: complete}
	for _, c := range found {
		out.Connections = append(out.Connections, userConn{c.ConnectionID, c.NodeID, c.Since, c.RemoteIP, c.Channels})
	}
	return respond(ctx, out)
}

// refusal says why a question about one connection got no answer.
func refusal(err error) *apierror.Error {
	switch {
	case errors.Is(err, hub.ErrNoConnection):
		return apierror.New(apierror.NotFound, "no such connection")
	case errors.Is(err, hub.ErrNoAnswer):
		return apierror.New(apierror.Unavailable, "the connection's node did not answer")
	case errors.Is(err, hub.ErrFull):
		return apierror.New(apierror.RateLimited, "the connection has limits.channels_per_connection channels")
	}
	return unconfirmed(err)
}

// respondInfo answers with a connection.
func respondInfo(ctx *fasthttp.RequestCtx, i hub.Info, err error) *apierror.Error {
	if err != nil {
		return refusal(err)
	}
	return respond(ctx, i)
}

// respondNothing answers 204.
func respondNothing(ctx *fasthttp.RequestCtx, err error) *apierror.Error {
	if err != nil {
		return refusal(err)
	}
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

func (a *API) getConnection(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	i, err := a.hub.Describe(a.ctx, names[0])
	return respondInfo(ctx, i, err)
}

func (a *API) patchConnection(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	var state json.RawMessage
	if err := unmarshal(ctx.PostBody(), map[string]func(*jsonReader) *fault{
		"state": func(r *jsonReader) *fault {
			b, f := r.Value()
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
	i, err := a.hub.ReplaceState(a.ctx, names[0], state)
	return respondInfo(ctx, i, err)
}

// goodbye is the body of the three disconnect routes.
type goodbye struct {
	code   int
	reason string
}

// parseDisconnect reads the body of the three disconnect routes, which may be
// absent.
func parseDisconnect(body []byte) (goodbye, *apierror.Error) {
	q := goodbye{code: 1000}
	if len(body) == 0 {
		return q, nil
	}
	err := unmarshal(body, map[string]func(*jsonReader) *fault{
		"code": func(r *jsonReader) *fault {
			b, f := r.Value()
			if f == nil && json.Unmarshal(b, &q.code) != nil {
				q.code = 0
			}
			return f
		},
		"reason": func(r *jsonReader) *fault {
			if r.Null() {
				return nil
			}
			b, f := r.Text("reason")
			q.reason = string(b)
			return f
		},
	})
	switch c := q.code; {
	case err != nil:
		return q, err
	case c != 1000 && c != 3000 && c != 3003 && (c < 4100 || c > 4999):
		return q, apierror.Invalid("code", "must be 1000, 3000, 3003 or 4100 to 4999")
	case len(q.reason) > maxReason || !utf8.ValidString(q.reason):
		return q, apierror.Invalid("reason", "must not be longer than 123 bytes")
	}
	return q, nil
}

// nodesAnswer is the answer of the disconnect routes.
type nodesAnswer struct {
	Nodes int `json:"nodes"`
}

// disconnect answers a disconnect route; do ends connections and returns how many
// nodes were told.
func disconnect(ctx *fasthttp.RequestCtx, do func(goodbye) (nodes int, err error)) *apierror.Error {
	q, bad := parseDisconnect(ctx.PostBody())
	if bad != nil {
		return bad
	}
	nodes, err := do(q)
	if err != nil {
		return refusal(err)
	}
	return respond(ctx, nodesAnswer{nodes})
}

func (a *API) disconnectUser(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return disconnect(ctx, func(q goodbye) (int, error) {
		return a.hub.DisconnectUser(a.ctx, names[0], q.code, q.reason)
	})
}

func (a *API) disconnectChannel(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return disconnect(ctx, func(q goodbye) (int, error) {
		return a.hub.DisconnectChannel(a.ctx, names[0], q.code, q.reason)
	})
}

func (a *API) disconnectConnection(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return disconnect(ctx, func(q goodbye) (int, error) {
		err := a.hub.Disconnect(a.ctx, names[0], q.code, q.reason)
		if errors.Is(err, hub.ErrNoConnection) { // nobody there is not an error
			return 0, nil
		}
		return 1, err
	})
}

func (a *API) putSubscription(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return respondNothing(ctx, a.hub.Subscribe(a.ctx, names[0], names[1], a.settings.Load().channels))
}

func (a *API) deleteSubscription(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return respondNothing(ctx, a.hub.Unsubscribe(a.ctx, names[0], names[1]))
}

func (a *API) putLasting(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	err := a.hub.SubscribeUser(a.ctx, names[0], names[1])
	if errors.Is(err, hub.ErrFull) {
		return apierror.New(apierror.RateLimited, "the user has limits.channels_per_connection lasting subscriptions")
	}
	return respondNothing(ctx, err)
}

func (a *API) deleteLasting(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return respondNothing(ctx, a.hub.UnsubscribeUser(a.ctx, names[0], names[1]))
}
