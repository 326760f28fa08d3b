package push

import (
	"cmp"
	"context"
	"errors"
	"regexp"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
)

// Letters are the dead letters of all nodes. An error is the broker's, or ErrUnreadable.
type Letters interface {
	// DeadLetters returns a page, the oldest first, and where the next begins.
	DeadLetters(ctx context.Context, cursor string, limit int) (page []hub.Pending, next string, err error)
	// DeadLetter returns one, Replay has this node tell it anew, DropLetter forgets it;
	// false: there is none of that id.
	DeadLetter(ctx context.Context, id string) (hub.Pending, bool, error)
	Replay(ctx context.Context, id string) (bool, error)
	DropLetter(ctx context.Context, id string) (bool, error)
}

// ErrUnreadable means that a dead letter was written by an unknown version.
var ErrUnreadable = errors.New("push: unreadable dead letter")

// States of an event in the outbox.
const (
	stateWaiting = "waiting"
	stateDead    = "dead"
)

// outboxEvent is one of GET /v1/outbox.
type outboxEvent struct {
	State string `json:"state"`
	hub.Pending
}

// outboxPage is GET /v1/outbox.
type outboxPage struct {
	Events   []outboxEvent `json:"events"`
	Next     string        `json:"next,omitempty"`
	Complete bool          `json:"complete"`
}

func shown(p hub.Pending, state string) outboxEvent {
	p.Rank = ""
	return outboxEvent{state, p}
}

// waitingCursor is the rank of an event.
var waitingCursor = regexp.MustCompile(`^\d{13}-[0-9a-f-]{36}$`)

// getOutbox pages through what waits on all nodes, or through the dead letters.
func (a *API) getOutbox(ctx *fasthttp.RequestCtx, _ []string) *apierror.Error {
	values, bad := query(ctx, "state", "limit", "cursor")
	if bad != nil {
		return bad
	}
	limit, bad := limitOf(values)
	if bad != nil {
		return bad
	}
	state, cursor := cmp.Or(values["state"], stateWaiting), values["cursor"]
	var found []hub.Pending
	var err error
	page := outboxPage{Events: []outboxEvent{}, Complete: true}
	switch {
	case state == stateDead:
		found, page.Next, err = a.letters.DeadLetters(a.ctx, cursor, limit)
	case state != stateWaiting:
		return apierror.Invalid("state", "must be waiting or dead")
	case cursor != "" && !waitingCursor.MatchString(cursor):
		return apierror.Invalid("cursor", "must be the next of an earlier page of waiting events")
	default:
		found, page.Next, page.Complete, err = a.hub.ListWaiting(a.ctx, cursor, limit)
	}
	if err != nil {
		return unconfirmed(err)
	}
	for _, p := range found {
		page.Events = append(page.Events, shown(p, state))
	}
	return respond(ctx, page)
}

func (a *API) getOutboxEvent(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	p, waits, complete, err := a.hub.FindWaiting(a.ctx, names[0])
	if err != nil {
		return unconfirmed(err)
	}
	if waits {
		return respond(ctx, shown(p, stateWaiting))
	}
	p, dead, err := a.letters.DeadLetter(a.ctx, names[0])
	if err != nil {
		return unconfirmed(err)
	}
	if dead {
		return respond(ctx, shown(p, stateDead))
	}
	return noSuchEvent(complete)
}

// postReplay sends an event that waits at once, and a dead letter anew.
func (a *API) postReplay(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	_, waits, complete, err := a.hub.HurryWaiting(a.ctx, names[0])
	if err != nil {
		return unconfirmed(err)
	}
	if !waits {
		dead, err := a.letters.Replay(a.ctx, names[0])
		switch {
		case errors.Is(err, ErrUnreadable):
			return apierror.New(apierror.Conflict, "the dead letter was written by another version of pushcart; replay it there")
		case err != nil:
			return unconfirmed(err)
		case !dead:
			return noSuchEvent(complete)
		}
	}
	ctx.SetStatusCode(fasthttp.StatusAccepted)
	return respond(ctx, struct {
		ID string `json:"id"`
	}{names[0]})
}

// deleteOutboxEvent drops an event wherever it is: a dead letter that is told anew
// waits as well.
func (a *API) deleteOutboxEvent(ctx *fasthttp.RequestCtx, names []string) *apierror.Error {
	_, waited, complete, err := a.hub.DropWaiting(a.ctx, names[0])
	if err != nil {
		return unconfirmed(err)
	}
	dead, err := a.letters.DropLetter(a.ctx, names[0])
	if err != nil {
		return unconfirmed(err)
	}
	if !waited && !dead {
		return noSuchEvent(complete)
	}
	return respondNothing(ctx, nil)
}

// noSuchEvent: it is known only if all nodes answered.
func noSuchEvent(complete bool) *apierror.Error {
	if !complete {
		return apierror.New(apierror.Unavailable, "a node did not answer; it may have the event")
	}
	return apierror.New(apierror.NotFound, "no such event in the outbox")
}
