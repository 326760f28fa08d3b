package push

import (
	"bytes"
	"net/url"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/names"
)

// handler answers one route; names are the decoded {…} of its path.
type handler func(ctx *fasthttp.RequestCtx, names []string) *apierror.Error

// route is one path of the API. Segments that begin with { take any name.
type route struct {
	path    string
	methods map[string]handler
}

func (a *API) routes() []route {
	return []route{
		{"/v1/push", map[string]handler{"POST": a.push}},
		{"/v1/users/{user}/push", map[string]handler{"POST": a.pushUser}},
		{"/v1/channels/{channel}/push", map[string]handler{"POST": a.pushChannel}},
		{"/v1/connections/{connection}/push", map[string]handler{"POST": a.pushConnection}},
		{"/v1/all/push", map[string]handler{"POST": a.pushAll}},
		{"/v1/users/{user}", map[string]handler{"GET": a.getUser}},
		{"/v1/users/{user}/disconnect", map[string]handler{"POST": a.disconnectUser}},
		{"/v1/channels/{channel}/disconnect", map[string]handler{"POST": a.disconnectChannel}},
		{"/v1/connections/{connection}", map[string]handler{"GET": a.getConnection, "PATCH": a.patchConnection}},
		{"/v1/connections/{connection}/disconnect", map[string]handler{"POST": a.disconnectConnection}},
		{"/v1/connections/{connection}/channels/{channel}", map[string]handler{
			"PUT": a.putSubscription, "DELETE": a.deleteSubscription,
		}},
		{"/v1/nodes", map[string]handler{"GET": a.getNodes}},
	}
}

// route finds the handler by the raw path: it is split first, and each segment is
// decoded once, so that a %2F in a name stays in the name (SPEC §11 Names).
func (a *API) route(ctx *fasthttp.RequestCtx) *apierror.Error {
	path, _, _ := bytes.Cut(ctx.Request.Header.RequestURI(), []byte("?"))
	if string(path) == "/v1/push" && ctx.IsPost() {
		return a.push(ctx, nil)
	}
	segments := strings.Split(string(path), "/")
	for _, r := range a.table {
		values, err := match(strings.Split(r.path, "/"), segments)
		if values == nil && err == nil {
			continue
		}
		do := r.methods[string(ctx.Method())]
		if do == nil {
			ctx.Response.Header.Set("Allow", allowed(r.methods))
			return apierror.New(apierror.MethodNotAllowed, "this path takes "+allowed(r.methods))
		}
		if err != nil {
			return err
		}
		return do(ctx, values)
	}
	return apierror.New(apierror.NotFound, "no such path in this version of the API")
}

// match returns the names in segments where they fit the pattern, nil where they
// do not.
func match(pattern, segments []string) (values []string, err *apierror.Error) {
	if len(pattern) != len(segments) {
		return nil, nil
	}
	values = []string{}
	for i, p := range pattern {
		if !strings.HasPrefix(p, "{") {
			if p != segments[i] {
				return nil, nil
			}
			continue
		}
		what := strings.Trim(p, "{}")
		value, bad := url.PathUnescape(segments[i])
		if bad != nil {
			err = apierror.Invalid(what, "bad percent-encoding")
			continue
		}
		check := names.CheckUser
		if what == "channel" {
			check = names.CheckChannel
		}
		if bad := check(value); bad != nil && err == nil {
			err = apierror.Invalid(what, bad.Error())
		}
		values = append(values, value)
	}
	return values, err
}

func allowed(methods map[string]handler) string {
	var list []string
	for m := range methods {
		list = append(list, m)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
