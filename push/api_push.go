package push

import (
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/plainjson"
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
	for i, p := range pushes {
		if err := a.hub.Check(p); err != nil {
			return a.refused(apierror.Invalid(pathOf(i)+"."+err.Field, strings.TrimPrefix(err.Message, err.Field+": ")))
		}
	}
	out := make([]hub.Published, len(pushes))
	a.hub.Publish(a.ctx, pushes, out)
	b := append(make([]byte, 0, 64+96*len(out)), `{"results":[`...)
	for i := range out {
		if i > 0 {
			b = append(b, ',')
		}
		if out[i].Err != nil {
			b = append(b, out[i].Err.AsJSON()...)
		} else {
			b = appendResult(b, &out[i].Result)
		}
	}
	ctx.SetContentType(contentJSON)
	ctx.SetBody(append(b, "]}"...))
	return nil
}

// plainBody refuses a body that is compressed: it would be sent as it is.
func plainBody(ctx *fasthttp.RequestCtx) *apierror.Error {
	if len(ctx.Request.Header.ContentEncoding()) > 0 {
		return apierror.New(apierror.UnsupportedType, "Content-Encoding is not supported")
	}
	return nil
}

// refused counts a push that was not even tried.
func (a *API) refused(err *apierror.Error) *apierror.Error {
	a.hub.CountRefused()
	return err
}

func (a *API) publishOne(ctx *fasthttp.RequestCtx, p *hub.Push) *apierror.Error {
	if err := a.hub.Check(p); err != nil {
		return a.refused(err)
	}
	var out [1]hub.Published
	a.hub.Publish(a.ctx, []*hub.Push{p}, out[:])
	if out[0].Err != nil {
		return out[0].Err
	}
	var answer [192]byte
	ctx.SetContentType(contentJSON)
	ctx.SetBody(appendResult(answer[:0], &out[0].Result))
	return nil
}

// appendResult writes the answer of SPEC §6.1.
func appendResult(b []byte, r *hub.Result) []byte {
	b = append(b, `{"id":`...)
	b = plainjson.AppendString(b, r.ID)
	b = append(b, `,"nodes":`...)
	b = strconv.AppendInt(b, int64(r.Nodes), 10)
	if r.Waited {
		b = append(b, `,"delivered":`...)
		b = strconv.AppendUint(b, r.Delivered, 10)
		b = append(b, `,"slow":`...)
		b = strconv.AppendUint(b, r.Slow, 10)
		if r.Asked {
			b = append(b, `,"acked":`...)
			b = strconv.AppendUint(b, r.Acked, 10)
		}
	}
	if len(r.Positions) > 0 {
		b = appendPositions(b, r.Positions)
	}
	b = append(b, `,"duplicate":`...)
	b = strconv.AppendBool(b, r.Duplicate)
	return append(b, '}')
}

func appendPositions(b []byte, positions []hub.Placed) []byte {
	b = append(b, `,"positions":{`...)
	for i := range positions {
		if i > 0 {
			b = append(b, ',')
		}
		b = plainjson.AppendString(b, positions[i].Topic)
		b = append(b, ':')
		b = appendPosition(b, positions[i].Position)
	}
	return append(b, '}')
}

func appendPosition(b []byte, p hub.Position) []byte {
	b = append(b, `{"offset":`...)
	b = strconv.AppendUint(b, p.Offset, 10)
	b = append(b, `,"epoch":`...)
	return append(plainjson.AppendString(b, p.Epoch), '}')
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
	return a.raw(ctx, hub.Targets{Users: []string{hub.UserTopic + names[0]}})
}

func (a *API) pushChannel(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return a.raw(ctx, hub.Targets{Channels: []string{hub.ChannelTopic + names[0]}})
}

func (a *API) pushConnection(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return a.raw(ctx, hub.Targets{Connections: names})
}

func (a *API) pushAll(ctx *fasthttp.RequestCtx, _ []string) *apierror.Error {
	return a.raw(ctx, hub.Targets{All: true})
}

// raw is a route whose body is the frame.
func (a *API) raw(ctx *fasthttp.RequestCtx, to hub.Targets) *apierror.Error {
	p := &draft{hub.Push{To: to}}
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
	return a.publishOne(ctx, &p.Push)
}
