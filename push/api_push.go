package push

import (
	"bytes"
	"errors"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/apierror"
)

// push is POST /v1/push.
func (a *API) push(ctx *fasthttp.RequestCtx, _ []string) *apierror.Error {
	if !jsonType(ctx.Request.Header.ContentType()) {
		return apierror.New(apierror.UnsupportedType, "Content-Type must be application/json")
	}
	// Strings and raw values are copied out by the decoder or alias this copy: the
	// request's own memory ends with the handler.
	pushes, batch, err := parseBody(bytes.Clone(ctx.PostBody()))
	if err != nil {
		a.hub.metrics.Pushes.WithLabelValues("none", "invalid_argument").Inc()
		return err
	}
	if !batch {
		result, err := a.hub.Publish(a.ctx, pushes[0])
		if err != nil {
			return asAPI(err)
		}
		return a.result(ctx, &result)
	}
	return a.batch(ctx, pushes)
}

// outcome is one push of a batch: a result, or the error it would have had alone.
type outcome struct {
	*Result
	Error *apierror.Error `json:"error,omitempty"`
}

func (a *API) batch(ctx *fasthttp.RequestCtx, pushes []*Push) *apierror.Error {
	results := make([]outcome, len(pushes))
	for i, r := range a.hub.publishAll(a.ctx, pushes) {
		if r.err == nil {
			results[i].Result = &r.result
			continue
		}
		var e *apierror.Error
		if !errors.As(r.err, &e) {
			e = asAPI(r.err)
		}
		results[i].Error = e
	}
	return answer(ctx, struct {
		Results []outcome `json:"results"`
	}{results})
}

// jsonType: curl sends its form type where nobody said otherwise (SPEC §11).
func jsonType(contentType []byte) bool {
	kind, _, _ := strings.Cut(string(contentType), ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "", "application/json", "application/x-www-form-urlencoded":
		return true
	}
	return false
}

func (a *API) pushUser(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return a.raw(ctx, targets{users: names})
}

func (a *API) pushChannel(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return a.raw(ctx, targets{channels: names})
}

func (a *API) pushConnection(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return a.raw(ctx, targets{connections: names})
}

func (a *API) pushAll(ctx *fasthttp.RequestCtx, _ []string) *apierror.Error {
	return a.raw(ctx, targets{all: true})
}

// raw is a route whose body is the frame.
func (a *API) raw(ctx *fasthttp.RequestCtx, to targets) *apierror.Error {
	p := &Push{to: to}
	if err := p.rawPayload(string(ctx.Request.Header.ContentType()), ctx.PostBody()); err != nil {
		return err
	}
	var o options
	var unknown *apierror.Error
	for key, value := range ctx.QueryArgs().All() {
		v := string(value)
		switch string(key) {
		case "event":
			o.event = &v
		case "id":
			o.id = &v
		case "ttl":
			o.ttl = &v
		case "wait":
			o.wait = &v
		default:
			unknown = apierror.Invalid(string(key), "unknown parameter; want event, id, ttl or wait")
		}
	}
	if unknown != nil {
		return unknown
	}
	if err := p.options("", o); err != nil {
		return err
	}
	result, err := a.hub.Publish(a.ctx, p)
	if err != nil {
		return asAPI(err)
	}
	return a.result(ctx, &result)
}

// result writes the answer to one push.
func (a *API) result(ctx *fasthttp.RequestCtx, r *Result) *apierror.Error { return answer(ctx, r) }
