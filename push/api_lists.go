package push

import (
	"cmp"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/glob"
)

const (
	// defaultLimit and maxLimit are how long a page of a list is.
	defaultLimit = 100
	maxLimit     = 1000
)

func (a *API) getNodes(ctx *fasthttp.RequestCtx, _ []string) *apierror.Error {
	nodes, complete, err := a.hub.Nodes(a.ctx)
	if err != nil {
		return unconfirmed(err)
	}
	return respond(ctx, struct {
		Nodes    []hub.NodeInfo `json:"nodes"`
		Complete bool           `json:"complete"`
	}{nodes, complete})
}

// limitOf is how long a page is asked for.
func limitOf(values map[string]string) (int, *apierror.Error) {
	s, given := values["limit"]
	if !given {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxLimit {
		return 0, apierror.Invalid("limit", "must be 1 to 1000")
	}
	return n, nil
}

// getChannels pages through the channels in the order of their names; the cursor
// is the last name of the page before.
func (a *API) getChannels(ctx *fasthttp.RequestCtx, _ []string) *apierror.Error {
	values, bad := query(ctx, "match", "limit", "cursor")
	if bad != nil {
		return bad
	}
	limit, bad := limitOf(values)
	if bad != nil {
		return bad
	}
	match, err := glob.Compile(cmp.Or(values["match"], "**"))
	if err != nil {
		return apierror.Invalid("match", err.Error())
	}
	page, next, complete, err := a.hub.ListChannels(a.ctx, match, values["cursor"], limit)
	if err != nil {
		return unconfirmed(err)
	}
	return respond(ctx, struct {
		Channels []hub.ChannelCount `json:"channels"`
		Next     string             `json:"next,omitempty"`
		Complete bool               `json:"complete"`
	}{page, next, complete})
}
