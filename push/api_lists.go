package push

import (
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/apierror"
)

const (
	// defaultLimit and maxLimit are how long a page of a list is.
	defaultLimit = 100
	maxLimit     = 1000
)

// nodeInfo is one node in GET /v1/nodes.
type nodeInfo struct {
	NodeID      string    `json:"node_id"`
	Address     string    `json:"address,omitempty"`
	Version     string    `json:"version"`
	Start       time.Time `json:"start"`
	Connections int       `json:"connections"`
}

func (a *API) getNodes(ctx *fasthttp.RequestCtx, _ []string) *apierror.Error {
	replies, complete, err := a.hub.gather(a.ctx, topicAll, request{Op: opNode})
	if err != nil {
		return unconfirmed(err)
	}
	nodes := make([]nodeInfo, 0, len(replies))
	for _, r := range replies {
		if r.About != nil {
			nodes = append(nodes, *r.About)
		}
	}
	slices.SortFunc(nodes, func(x, y nodeInfo) int { return x.Start.Compare(y.Start) })
	return respond(ctx, struct {
		Nodes    []nodeInfo `json:"nodes"`
		Complete bool       `json:"complete"`
	}{nodes, complete})
}

// getChannels pages through the channels in the order of their names; the cursor
// is the last name of the page before.
func (a *API) getChannels(ctx *fasthttp.RequestCtx, _ []string) *apierror.Error {
	values, bad := query(ctx, "match", "limit", "cursor")
	if bad != nil {
		return bad
	}
	limit := defaultLimit
	if s, given := values["limit"]; given {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxLimit {
			return apierror.Invalid("limit", "must be 1 to 1000")
		}
		limit = n
	}
	replies, complete, err := a.hub.gather(a.ctx, topicAll,
		request{Op: opChannels, Channel: values["match"], After: values["cursor"], Most: limit})
	if err != nil {
		return unconfirmed(err)
	}
	page, next := mergeChannels(replies, limit)
	return respond(ctx, struct {
		Channels []channelCount `json:"channels"`
		Next     string         `json:"next,omitempty"`
		Complete bool           `json:"complete"`
	}{page, next, complete})
}
