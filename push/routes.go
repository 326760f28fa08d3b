package push

import (
	"bytes"
	"cmp"
	"maps"
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
	segments []string
	methods  map[string]handler
	allow    string
}

const (
	pathPush   = "/v1/push"
	noSuchPath = "no such path in this version of the push API"
)

func (a *API) table() []route {
	get := func(h handler) map[string]handler { return map[string]handler{"GET": h} }
	post := func(h handler) map[string]handler { return map[string]handler{"POST": h} }
	var routes []route
	for path, methods := range map[string]map[string]handler{
		pathPush:                                  post(a.push),
		"/v1/users/{user}/push":                   post(a.pushUser),
		"/v1/channels/{channel}/push":             post(a.pushChannel),
		"/v1/connections/{connection}/push":       post(a.pushConnection),
		"/v1/all/push":                            post(a.pushAll),
		"/v1/users/{user}":                        get(a.getUser),
		"/v1/users/{user}/disconnect":             post(a.disconnectUser),
		"/v1/users/{user}/channels/{channel}":     {"PUT": a.putLasting, "DELETE": a.deleteLasting},
		"/v1/users/{user}/history":                {"GET": a.getUserHistory, "DELETE": a.deleteUserHistory},
		"/v1/channels":                            get(a.getChannels),
		"/v1/channels/{channel}/presence":         get(a.getPresence),
		"/v1/channels/{channel}/history":          {"GET": a.getChannelHistory, "DELETE": a.deleteChannelHistory},
		"/v1/channels/{channel}/disconnect":       post(a.disconnectChannel),
		"/v1/connections/{connection}":            {"GET": a.getConnection, "PATCH": a.patchConnection},
		"/v1/connections/{connection}/disconnect": post(a.disconnectConnection),
		"/v1/connections/{connection}/channels/{channel}": {
			"PUT": a.putSubscription, "DELETE": a.deleteSubscription,
		},
		"/v1/nodes":                 get(a.getNodes),
		"/v1/outbox":                get(a.getOutbox),
		"/v1/outbox/{entry}":        {"GET": a.getOutboxEvent, "DELETE": a.deleteOutboxEvent},
		"/v1/outbox/{entry}/replay": post(a.postReplay),
		"/v1/openapi.json":          get(a.getOpenAPI),
	} {
		routes = append(routes, route{
			segments: strings.Split(path, "/"), methods: methods,
			allow: strings.Join(slices.Sorted(maps.Keys(methods)), ", "),
		})
	}
	return routes
}

// route finds the handler by the raw path: it is split first, and each segment is
// decoded once, so that a %2F in a name stays in the name (SPEC §11 Names).
func (a *API) route(ctx *fasthttp.RequestCtx) *apierror.Error {
	path, _, _ := bytes.Cut(ctx.Request.Header.RequestURI(), []byte("?"))
	if string(path) == pathPush && ctx.IsPost() {
		return a.push(ctx, nil)
	}
	segments := strings.Split(string(path), "/")
	for i := range a.routes {
		r := &a.routes[i]
		if !r.fits(segments) {
			continue
		}
		do := r.methods[string(ctx.Method())]
		if do == nil {
			ctx.Response.Header.Set("Allow", r.allow)
			return apierror.New(apierror.MethodNotAllowed, "this path takes "+r.allow)
		}
		values, err := r.names(segments)
		if err != nil {
			return err
		}
		return do(ctx, values)
	}
	return apierror.New(apierror.NotFound, noSuchPath)
}

// fits: no path fits two routes, as what is named is never named like a verb at
// its place.
func (r *route) fits(segments []string) bool {
	if len(r.segments) != len(segments) {
		return false
	}
	for i, want := range r.segments {
		if want != segments[i] && !strings.HasPrefix(want, "{") {
			return false
		}
	}
	return true
}

// names decodes and checks what stands at the places of {…}.
func (r *route) names(segments []string) ([]string, *apierror.Error) {
	var values []string
	for i, want := range r.segments {
		what, named := strings.CutPrefix(want, "{")
		if !named {
			continue
		}
		what = strings.TrimSuffix(what, "}")
		value, err := url.PathUnescape(segments[i])
		if err != nil {
			return nil, apierror.Invalid(what, "bad percent-encoding")
		}
		check := names.CheckUser
		if what == "channel" {
			check = names.CheckChannel
		}
		if err := check(value); err != nil {
			return nil, apierror.Invalid(what, err.Error())
		}
		values = append(values, value)
	}
	return values, nil
}

// query reads the parameters that a route knows; each may be given once.
func query(ctx *fasthttp.RequestCtx, known ...string) (map[string]string, *apierror.Error) {
	_, raw, _ := bytes.Cut(ctx.Request.Header.RequestURI(), []byte("?"))
	if len(raw) == 0 {
		return nil, nil
	}
	all, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, apierror.New(apierror.InvalidArgument, "query: bad percent-encoding")
	}
	values := make(map[string]string, len(all))
	for key, list := range all {
		switch {
		case !slices.Contains(known, key):
			return nil, apierror.Invalid(key, "unknown parameter; want "+cmp.Or(strings.Join(known, ", "), "none"))
		case len(list) > 1:
			return nil, apierror.Invalid(key, "given twice")
		}
		values[key] = list[0]
	}
	return values, nil
}
