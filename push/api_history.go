package push

import (
	"encoding/base64"
	"errors"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/plainjson"
)

// noHistory are the answers where the rules keep nothing.
const (
	noUserHistory    = "no history is kept for users; see users.history"
	noChannelHistory = "no history is kept for this channel; see channels[].history"
)

func (a *API) getUserHistory(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return a.history(ctx, hub.UserTopic+names[0], noUserHistory)
}

func (a *API) getChannelHistory(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return a.history(ctx, hub.ChannelTopic+names[0], noChannelHistory)
}

func (a *API) deleteUserHistory(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return a.forget(ctx, hub.UserTopic+names[0], noUserHistory)
}

func (a *API) deleteChannelHistory(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	return a.forget(ctx, hub.ChannelTopic+names[0], noChannelHistory)
}

// history answers with a page of a stream.
func (a *API) history(ctx *fasthttp.RequestCtx, topic, none string) *apierror.Error {
	q, bad := historyQuery(ctx, topic)
	if bad != nil {
		return bad
	}
	page, err := a.hub.History(a.ctx, q)
	if err != nil {
		return historyRefusal(err, none)
	}
	b, err := appendPage(nil, &page, q.After != nil)
	if err != nil {
		return apierror.New(apierror.Internal, "answer: "+err.Error())
	}
	ctx.SetContentType(contentJSON)
	ctx.SetBody(b)
	return nil
}

func (a *API) forget(ctx *fasthttp.RequestCtx, topic, none string) *apierror.Error {
	if _, bad := query(ctx); bad != nil {
		return bad
	}
	if err := a.hub.Forget(a.ctx, topic); err != nil {
		return historyRefusal(err, none)
	}
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

func historyRefusal(err error, none string) *apierror.Error {
	if errors.Is(err, hub.ErrNoHistory) {
		return apierror.New(apierror.NotFound, none)
	}
	return apierror.New(apierror.Unavailable, "the broker did not answer")
}

// historyQuery reads ?after=&epoch=&limit=.
func historyQuery(ctx *fasthttp.RequestCtx, topic string) (hub.HistoryQuery, *apierror.Error) {
	values, bad := query(ctx, "after", "epoch", "limit")
	if bad != nil {
		return hub.HistoryQuery{}, bad
	}
	limit, bad := limitOf(values)
	if bad != nil {
		return hub.HistoryQuery{}, bad
	}
	q := hub.HistoryQuery{Topic: topic, Limit: limit}
	epoch := values["epoch"] // "": the current one, also that of a stream that had none yet
	after, given := values["after"]
	switch {
	case epoch != "" && !given:
		return q, apierror.Invalid("epoch", "goes together with after")
	case given:
		offset, err := strconv.ParseUint(after, 10, 64)
		if err != nil {
			return q, apierror.Invalid("after", "must be an offset: a whole number from 0 to 18446744073709551615")
		}
		q.After = &hub.Position{Offset: offset, Epoch: epoch}
	}
	return q, nil
}

// appendPage writes a page; from says whether it was asked for from a position on.
func appendPage(b []byte, page *hub.HistoryPage, from bool) (_ []byte, err error) {
	b = append(b, `{"messages":[`...)
	for i := range page.Messages {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendKept(b, &page.Messages[i]); err != nil {
			return nil, err
		}
	}
	b = append(b, `],"position":`...)
	b = appendPosition(b, page.Position)
	if from {
		b = append(b, `,"recovered":`...)
		b = strconv.AppendBool(b, !page.Gap)
	}
	if page.More {
		b = append(b, `,"more":true`...)
	}
	return append(b, '}'), nil
}

// keptTime is RFC 3339 with milliseconds.
const keptTime = "2006-01-02T15:04:05.000Z07:00"

// appendKept writes a message as clients of json.v1 see it (SPEC §4.3), and whom it is
// not for.
func appendKept(b []byte, m *hub.Kept) (_ []byte, err error) {
	b = append(b, `{"id":`...)
	b = plainjson.AppendString(b, m.ID)
	if m.Event != "" {
		b = append(b, `,"event":`...)
		b = plainjson.AppendString(b, m.Event)
	}
	if b, err = appendData(b, m); err != nil {
		return nil, err
	}
	if m.From != "" {
		b = append(b, `,"from":`...)
		b = plainjson.AppendString(b, m.From)
	}
	b = append(b, `,"offset":`...)
	b = strconv.AppendUint(b, m.Offset, 10)
	b = append(b, `,"epoch":`...)
	b = plainjson.AppendString(b, m.Epoch)
	b = append(b, `,"time":"`...)
	b = time.Unix(0, m.Accepted).UTC().AppendFormat(b, keptTime)
	b = append(b, '"')
	if len(m.Except) > 0 {
		if b, err = plainjson.Append(append(b, `,"except":{"users":`...), m.Except); err != nil {
			return nil, err
		}
		b = append(b, '}')
	}
	return append(b, '}'), nil
}

// appendData writes the payload: JSON as it came, text as a JSON string, binary in
// base64.
func appendData(b []byte, m *hub.Kept) ([]byte, error) {
	switch m.Kind {
	case hub.JSON:
		return append(append(b, `,"data":`...), m.Data...), nil
	case hub.Binary:
		b = append(b, `,"data_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, m.Data)
		return append(b, '"'), nil
	}
	return plainjson.Append(append(b, `,"data":`...), string(m.Data))
}
