package session

import (
	"context"
	"errors"
	"slices"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/webhook"
)

// Page is the kept part of a channel from some position on.
type Page struct {
	hub.HistoryPage
	// Room is how many bytes the answer may have, unless one message alone is longer: so
	// that it makes no slow consumer.
	Room int
}

// History reads the history of a channel; after nil reads from the oldest message, and
// limit 0 as many as fit. The client needs the right to subscribe; if a webhook grants
// it, the client must be subscribed.
func (e *Engine) History(s *Session, t Transport, channel string, after *hub.Position, limit int, done func(Page, *apierror.Error)) {
	r := &request{channel: channel, reads: readsHistory}
	answer := func(p Page, err *apierror.Error) {
		done(p, e.reported(err, "history", "channels[].subscribe, channels[].history"))
		e.finish(s, t, r)
	}
	r.act = func(webhook.Answer, error) {
		if !e.mayRead(s, channel) {
			answer(Page{}, mayNot("read the history of this channel"))
			return
		}
		e.goOn(t, func() {
			answer(e.page(s, t, hub.HistoryQuery{Topic: hub.ChannelTopic + channel, After: after, Limit: limit}))
		})
	}
	e.begin(s, t, r)
}

// page reads a page, without what is not for this user.
func (e *Engine) page(s *Session, t Transport, q hub.HistoryQuery) (Page, *apierror.Error) {
	ctx, cancel := e.patience()
	defer cancel()
	for {
		p, err := e.read(ctx, q)
		if err != nil {
			return Page{}, err
		}
		whole := len(p.Messages)
		var last hub.Position
		if whole > 0 {
			last = hub.Position{Offset: p.Messages[whole-1].Offset, Epoch: p.Position.Epoch}
		}
		p.Messages = slices.DeleteFunc(p.Messages, func(m hub.Kept) bool { return slices.Contains(m.Except, s.member.User()) })
		if len(p.Messages) > 0 || !p.More {
			_, bytes := t.Room()
			return Page{p, min(bytes/2, broker.MaxReadBytes)}, nil
		}
		q.After = &last // else the client had no place to go on from
	}
}

func (e *Engine) read(ctx context.Context, q hub.HistoryQuery) (hub.HistoryPage, *apierror.Error) {
	p, err := e.hub.History(ctx, q)
	switch {
	case errors.Is(err, hub.ErrNoHistory):
		return p, apierror.New(apierror.NotFound, "no history is kept for this channel")
	case err != nil:
		return p, unavailable("the history cannot be read now")
	}
	return p, nil
}
