package session

import (
	"errors"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/webhook"
)

// Presence reads the users subscribed to a channel, after a user's name. The client needs
// the right to subscribe; if a webhook grants it, the client must be subscribed.
func (e *Engine) Presence(s *Session, t Transport, channel, after string, done func(hub.PresencePage, *apierror.Error)) {
	r := &request{channel: channel, reads: readsPresence}
	answer := func(p hub.PresencePage, err *apierror.Error) {
		done(p, e.reported(err, "presence", "channels[].subscribe, channels[].presence"))
		e.finish(s, t, r)
	}
	r.act = func(webhook.Answer, error) {
		if !e.mayRead(s, channel) {
			answer(hub.PresencePage{}, mayNot("read who is subscribed to this channel"))
			return
		}
		e.goOn(t, func() { answer(e.present(channel, after)) })
	}
	e.begin(s, t, r)
}

// mayRead says whether the client may read what is known of a channel.
func (e *Engine) mayRead(s *Session, channel string) bool {
	word := e.settings.Load().rules.of(channel, s.member.User()).subscribe
	_, ok := e.right(s, word, channel, nil)
	return ok && word != config.ByWebhook || e.follows(s, channel)
}

func (e *Engine) present(channel, after string) (hub.PresencePage, *apierror.Error) {
	ctx, cancel := e.patience()
	defer cancel()
	p, err := e.hub.Presence(ctx, channel, hub.PresenceQuery{After: after})
	switch {
	case errors.Is(err, hub.ErrNoPresence):
		return p, apierror.New(apierror.NotFound, "presence is not enabled for this channel")
	case err != nil:
		return p, unavailable("presence cannot be read now")
	}
	return p, nil
}
