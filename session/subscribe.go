package session

import (
	"errors"
	"slices"
	"time"

	"github.com/pushcart/pushcart/auth"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/webhook"
)

// Subscription is a client's request to subscribe.
type Subscription struct {
	// Channel is a valid name.
	Channel string
	// From is where it begins.
	From hub.Start
	// Token is one of its own, "" for none.
	Token string
}

// Subscribe subscribes the client to a channel, if it is allowed to. done is called once,
// from any goroutine, before any message of the channel is sent; it must not block. The
// same holds for all other requests. If a request did not begin before the connection
// ended, done is not called.
func (e *Engine) Subscribe(s *Session, t Transport, q Subscription, done func(hub.Followed, *apierror.Error)) {
	set := e.settings.Load()
	rule := set.rules.of(q.Channel, s.member.User())
	r := &request{channel: q.Channel, cost: len(q.Token)}
	if rule.subscribe == config.ByWebhook {
		r.question = e.question(webhook.Subscribe, q.Channel, nil)
	}
	answer := func(f hub.Followed, err *apierror.Error) {
		done(f, e.reported(err, "subscribe", "channels[].subscribe"))
		e.finish(s, t, r)
	}
	r.act = func(a webhook.Answer, err error) {
		if r.question != nil {
			if refused := allowed(a, err, set.onError.Subscribe); refused != nil {
				answer(hub.Followed{}, refused)
				return
			}
		}
		if q.Token == "" {
			e.subscribe(s, t, q, rule.subscribe, nil, answer)
			return
		}
		e.dear(s)
		e.goOn(t, func() {
			ctx, cancel := e.patience()
			defer cancel()
			own, refused := e.ownToken(ctx, s, q.Token)
			if refused != nil {
				answer(hub.Followed{}, refused)
				return
			}
			e.subscribe(s, t, q, rule.subscribe, own, answer)
		})
	}
	e.begin(s, t, r)
}

// subscribe judges by a word of the rules, of which the webhook is asked already, and
// follows the channel.
func (e *Engine) subscribe(
	s *Session, t Transport, q Subscription, word string, own *auth.Identity, answer func(hub.Followed, *apierror.Error),
) {
	l, ok := e.right(s, word, q.Channel, own)
	if !ok && !e.follows(s, q.Channel) {
		answer(hub.Followed{}, mayNot("subscribe to this channel"))
		return
	}
	e.hub.Follow(t, q.Channel, q.From, e.settings.Load().limits.ChannelsPerConnection, func(f hub.Followed, err error) {
		defer e.guard.Recover("answer of the hub", e.failed(t))
		if err != nil {
			answer(hub.Followed{}, notFollowed(err))
			return
		}
		stale := l.revocable() && !e.hold(s, t, l)
		answer(f, nil)
		if stale { // the token was replaced meanwhile
			e.goOn(t, func() { e.revoke(s, t, q.Channel) })
		}
	})
}

// right says whether a word of the rules lets the client use a channel, where a webhook
// was asked already; l is what it stands on, if that can end.
func (e *Engine) right(s *Session, word, channel string, own *auth.Identity) (l lease, ok bool) {
	switch word {
	case config.Granted:
		return s.dialog().granted(s, channel, own)
	case config.AnyUser:
		return lease{}, s.member.User() != ""
	}
	return lease{}, word == config.Anyone || word == config.ByWebhook
}

// follows says whether the client is subscribed, by whatever right.
func (e *Engine) follows(s *Session, channel string) bool {
	return slices.Contains(s.member.Channels(), channel)
}

// Unsubscribe ends a subscription, if there is one.
func (e *Engine) Unsubscribe(s *Session, t Transport, channel string, done func()) {
	r := &request{channel: channel}
	r.act = func(webhook.Answer, error) {
		e.hub.Unfollow(t, channel)
		s.dialog().drop(channel)
		done()
		e.finish(s, t, r)
	}
	e.begin(s, t, r)
}

// Recover delivers what was pushed to the user after a position.
func (e *Engine) Recover(s *Session, t Transport, after hub.Position, done func(hub.Followed, *apierror.Error)) {
	r := &request{}
	r.act = func(webhook.Answer, error) {
		if s.member.User() == "" {
			done(hub.Followed{}, apierror.New(apierror.NotFound, "nothing is pushed to an anonymous connection as a user"))
			e.finish(s, t, r)
			return
		}
		e.hub.FollowUser(t, hub.Start{After: &after}, func(f hub.Followed, err error) {
			defer e.guard.Recover("answer of the hub", e.failed(t))
			done(f, e.reported(notFollowed(err), "recover", "users.history"))
			e.finish(s, t, r)
		})
	}
	e.begin(s, t, r)
}

// question is one about a channel.
func (e *Engine) question(event, channel string, data []byte) *question {
	return &question{name: event, contentType: contentJSON, body: aboutChannel(channel, data)}
}

// allowed is what the backend's answer to subscribe or publish comes to; nil: yes.
func allowed(a webhook.Answer, err error, onError string) *apierror.Error {
	switch {
	case err != nil && onError == config.Allow, err == nil && a.Status/100 == 2:
		return nil
	case err != nil:
		return unavailable("the backend did not answer")
	}
	return apierror.New(apierror.Forbidden, "the backend refused")
}

func mayNot(what string) *apierror.Error {
	return apierror.New(apierror.Forbidden, "not allowed to "+what)
}

// notFollowed is an error of the hub as clients see it.
func notFollowed(err error) *apierror.Error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, hub.ErrFull):
		return apierror.New(apierror.RateLimited, "the connection is at its limit of channels")
	case errors.Is(err, hub.ErrNotFollowing):
		return unavailable("the subscription was ended meanwhile")
	}
	return unavailable("the history cannot be read now")
}

// endOf is the moment when a token ends, in Unix seconds; always, for one without an end.
func endOf(at time.Time) uint32 {
	if at.IsZero() {
		return always
	}
	return uint32(min(max(1, at.Unix()), always))
}

const always = 1<<32 - 1
