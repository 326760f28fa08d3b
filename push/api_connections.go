package push

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/apierror"
)

// MaxState bounds the state that a backend attaches to a connection, in bytes
// (SPEC §5).
const MaxState = 2 << 10

// userAnswer is GET /v1/users/{id}.
type userAnswer struct {
	UserID      string     `json:"user_id"`
	Online      bool       `json:"online"`
	Connections []userConn `json:"connections"`
	Complete    bool       `json:"complete"`
}

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
		return asAPI(err)
	}
	out := userAnswer{UserID: names[0], Connections: []userConn{}, Complete: complete}
	for _, r := range replies {
		for _, c := range r.Connections {
			out.Connections = append(out.Connections, userConn{c.ConnectionID, c.NodeID, c.Since, c.RemoteIP, c.Channels})
		}
	}
	slices.SortFunc(out.Connections, func(x, y userConn) int { return x.Since.Compare(y.Since) })
	out.Online = len(out.Connections) > 0
	return answer(ctx, out)
}

// ask puts a request to the node of one connection and returns its answer.
func (a *API) ask(ctx context.Context, id string, q request) (reply, *apierror.Error) {
	missing := apierror.New(apierror.NotFound, "no such connection")
	topic, ok := ofConnection(id)
	if !ok {
		return reply{}, missing
	}
	q.Connection = id
	replies, complete, err := a.hub.gather(ctx, topic, q)
	switch {
	case err != nil:
		return reply{}, asAPI(err)
	case !complete:
		return reply{}, apierror.New(apierror.Unavailable, "the connection's node did not answer")
	case len(replies) == 0 || len(replies[0].Connections) == 0:
		return reply{}, missing
	}
	return replies[0], nil
}

func (a *API) getConnection(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	r, err := a.ask(a.ctx, names[0], request{Op: opDescribe})
	if err != nil {
		return err
	}
	return answer(ctx, r.Connections[0])
}

func (a *API) patchConnection(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	var body struct {
		State json.RawMessage `json:"state"`
	}
	if err := decode(ctx.PostBody(), &body, ""); err != nil {
		return err
	}
	switch {
	case body.State == nil:
		return apierror.Invalid("state", "is wanted")
	case len(body.State) > MaxState:
		return &apierror.Error{Code: apierror.TooLarge, Message: "state: larger than 2 KiB", Field: "state"}
	}
	r, err := a.ask(a.ctx, names[0], request{Op: opSetState, State: body.State})
	if err != nil {
		return err
	}
	return answer(ctx, r.Connections[0])
}

// disconnect is the body and the answer of the three disconnect routes.
type disconnect struct {
	Code   *int   `json:"code"`
	Reason string `json:"reason"`
}

type nodesAnswer struct {
	Nodes int `json:"nodes"`
}

// maxReason is what fits into a Close frame beside the code (RFC 6455 §5.5).
const maxReason = 123

func parseDisconnect(body []byte) (request, *apierror.Error) {
	q := request{Op: opDisconnect, Code: 1000}
	if len(body) == 0 {
		return q, nil
	}
	var d disconnect
	if err := decode(body, &d, ""); err != nil {
		return q, err
	}
	if d.Code != nil {
		q.Code = *d.Code
	}
	if c := q.Code; c != 1000 && c != 3000 && c != 3003 && (c < 4100 || c > 4999) {
		return q, apierror.Invalid("code", "must be 1000, 3000, 3003 or 4100 to 4999")
	}
	if len(d.Reason) > maxReason {
		return q, apierror.Invalid("reason", "must not be longer than 123 bytes")
	}
	q.Reason = d.Reason
	return q, nil
}

func (a *API) disconnectTopic(ctx *fasthttp.RequestCtx, topic string) *apierror.Error {
	q, bad := parseDisconnect(ctx.PostBody())
	if bad != nil {
		return bad
	}
	nodes, err := a.hub.order(a.ctx, topic, q)
	if err != nil {
		return asAPI(err)
	}
	return answer(ctx, nodesAnswer{nodes})
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
	switch _, err := a.ask(a.ctx, names[0], q); {
	case err == nil:
		return answer(ctx, nodesAnswer{1})
	case err.Code == apierror.NotFound: // nobody there is not an error
		return answer(ctx, nodesAnswer{0})
	default:
		return err
	}
}

func (a *API) putSubscription(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	r, err := a.ask(a.ctx, names[0], request{Op: opSubscribe, Channel: names[1], Most: a.most})
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
	if _, err := a.ask(a.ctx, names[0], request{Op: opUnsubscribe, Channel: names[1]}); err != nil {
		return err
	}
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

// nodeInfo is one node in GET /v1/nodes.
type nodeInfo struct {
	NodeID      string    `json:"node_id"`
	Version     string    `json:"version"`
	Start       time.Time `json:"start"`
	Connections int       `json:"connections"`
}

func (a *API) getNodes(ctx *fasthttp.RequestCtx, _ []string) *apierror.Error {
	replies, complete, err := a.hub.gather(a.ctx, topicAll, request{Op: opNode})
	if err != nil {
		return asAPI(err)
	}
	nodes := make([]nodeInfo, 0, len(replies))
	for _, r := range replies {
		nodes = append(nodes, nodeInfo{r.Node, r.Version, time.UnixMilli(int64(r.Start)).UTC(), r.Count})
	}
	slices.SortFunc(nodes, func(x, y nodeInfo) int { return x.Start.Compare(y.Start) })
	return answer(ctx, struct {
		Nodes    []nodeInfo `json:"nodes"`
		Complete bool       `json:"complete"`
	}{nodes, complete})
}
