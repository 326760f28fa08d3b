package push

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/names"
)

// memberSeen is a member of a channel as the API shows it.
type memberSeen struct {
	UserID      string `json:"user_id"`
	Connections int    `json:"connections"`
	Since       string `json:"since"`

	Info json.RawMessage `json:"info,omitempty"`
}

const noPresence = "presence is not enabled for this channel; see channels[].presence"

// getPresence pages through the members of a channel in the order of their names; the
// cursor is the last name of the page before.
func (a *API) getPresence(ctx *fasthttp.RequestCtx, values []string) *apierror.Error {
	q, bad := presenceQuery(ctx)
	if bad != nil {
		return bad
	}
	page, err := a.hub.Presence(a.ctx, values[0], q)
	switch {
	case errors.Is(err, hub.ErrNoPresence):
		return apierror.New(apierror.NotFound, noPresence)
	case err != nil:
		return apierror.New(apierror.Unavailable, "the broker did not answer")
	}
	answer := struct {
		Users []memberSeen `json:"users"`
		Total int          `json:"total"`
		Next  string       `json:"next,omitempty"`
	}{make([]memberSeen, 0, len(page.Page)), page.Total, ""}
	for _, m := range page.Page {
		since := time.UnixMilli(m.Since).UTC().Format(keptTime)
		answer.Users = append(answer.Users, memberSeen{m.User, m.Connections, since, m.Info})
	}
	if n := len(page.Page); page.More && n > 0 {
		answer.Next = page.Page[n-1].User
	}
	return respond(ctx, answer)
}

// presenceQuery reads ?cursor=&limit=.
func presenceQuery(ctx *fasthttp.RequestCtx) (q hub.PresenceQuery, bad *apierror.Error) {
	values, bad := query(ctx, "cursor", "limit")
	if bad != nil {
		return q, bad
	}
	if q.Limit, bad = limitOf(values); bad != nil {
		return q, bad
	}
	cursor, given := values["cursor"]
	if given && names.CheckUser(cursor) != nil {
		return q, apierror.Invalid("cursor", "must be the next of an earlier page")
	}
	q.After = cursor
	return q, nil
}
