package push

import (
	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/apierror"
)

// push is POST /v1/push.
func (a *API) push(ctx *fasthttp.RequestCtx, _ []string) *apierror.Error {
	h := &ctx.Request.Header
	if !jsonType(h.ContentType()) {
		return a.refused(apierror.New(apierror.UnsupportedType, "Content-Type must be application/json; the raw routes, like /v1/all/push, take other bodies"))
	}
	if err := plainBody(ctx); err != nil {
		return a.refused(err)
	}
	// The pushes alias the request's memory, which lives as long as this handler;
	// publish copies what goes on its way.
	pushes, batch, err := parseBody(ctx.PostBody())
	if err != nil {
		return a.refused(err)
	}
	if !batch {
		return a.publishOne(ctx, pushes[0])
	}
	out := make([]outcome, len(pushes))
	a.hub.publish(a.ctx, pushes, out)
	b := append(make([]byte, 0, 64+96*len(out)), `{"results":[`...)
	for i := range out {
		if i > 0 {
			b = append(b, ',')
		}
		if out[i].err != nil {
			b = append(b, out[i].err.AsJSON()...)
		} else {
			b = out[i].append(b)
		}
	}
	ctx.SetContentType(contentJSON)
	ctx.SetBody(append(b, "]}"...))
	return nil
}

// plainBody refuses a body that is compressed: it would be sent as it is.
func plainBody(ctx *fasthttp.RequestCtx) *apierror.Error {
	if len(ctx.Request.Header.ContentEncoding()) > 0 {
		return apierror.New(apierror.UnsupportedType, "Content-Encoding is not taken")
	}
	return nil
}

// refused counts a push that was not even tried.
func (a *API) refused(err *apierror.Error) *apierror.Error {
	a.hub.pushes.invalid()
	return err
}

func (a *API) publishOne(ctx *fasthttp.RequestCtx, p *Push) *apierror.Error {
	var out [1]outcome
	a.hub.publish(a.ctx, []*Push{p}, out[:])
	if out[0].err != nil {
		return out[0].err
	}
	var answer [192]byte
	ctx.SetContentType(contentJSON)
	ctx.SetBody(out[0].append(answer[:0]))
	return nil
}

// jsonType: curl sends its form type where nobody said otherwise, and fetch text/plain
// for a string (SPEC §11).
func jsonType(contentType []byte) bool {
	if len(contentType) == 0 || string(contentType) == contentJSON {
		return true
	}
	switch mediaType(string(contentType)) {
	case contentJSON, "application/x-www-form-urlencoded", "text/plain":
		return true
	}
	return false
}

func (a *API) pushUser(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return a.raw(ctx, targets{users: []string{userTopic + names[0]}})
}

func (a *API) pushChannel(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return a.raw(ctx, targets{channels: []string{channelTopic + names[0]}})
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
	if err := plainBody(ctx); err != nil {
		return a.refused(err)
	}
	if err := p.setRaw(string(ctx.Request.Header.ContentType()), ctx.PostBody()); err != nil {
		return a.refused(err)
	}
	values, err := query(ctx, "event", "id", "ttl", "wait")
	if err != nil {
		return a.refused(err)
	}
	for name, value := range values {
		set := map[string]func(string) string{
			"event": p.setEvent, "id": p.setID, "ttl": p.setTTL, "wait": p.setWait,
		}[name]
		if problem := set(value); problem != "" {
			return a.refused(apierror.Invalid(name, problem))
		}
	}
	return a.publishOne(ctx, p)
}
