package session

import (
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/plainjson"
	"github.com/pushcart/pushcart/webhook"
)

// Publication is what a client publishes: JSON, to a channel or a user.
type Publication struct {
	// Channel or User is a valid name, the other "".
	Channel, User string
	// Event is what it is called, "" for nothing.
	Event string
	// Data is JSON. It is kept.
	Data []byte
}

// Publish publishes, if the client is allowed to. at is the message's position in its
// stream, zero if it has no history.
func (e *Engine) Publish(s *Session, t Transport, p Publication, done func(at hub.Position, err *apierror.Error)) {
	set := e.settings.Load()
	r := &request{channel: p.Channel, cost: len(p.Data)}
	rule, setting := &channelRule{publish: set.rules.publishToUser}, "users.publish"
	if p.Channel != "" {
		rule, setting = set.rules.of(p.Channel, s.member.User()), "channels[].publish"
	}
	word := rule.publish
	if word == config.ByWebhook {
		r.question = e.question(webhook.Publish, p.Channel, p.Data)
		r.cost *= 2
	}
	answer := func(at hub.Position, err *apierror.Error) {
		done(at, e.reported(err, "publish", setting))
		e.finish(s, t, r)
	}
	r.act = func(a webhook.Answer, err error) {
		if r.question != nil {
			if refused := allowed(a, err, set.onError.Publish); refused != nil {
				answer(hub.Position{}, refused)
				return
			}
		}
		if !e.mayPublish(s, rule, p.Channel) {
			answer(hub.Position{}, mayNot("publish there"))
			return
		}
		e.goOn(t, func() { answer(e.publish(s, &p)) })
	}
	e.begin(s, t, r)
}

// mayPublish says whether the rule of a channel lets the client publish there. Where only
// grants let it subscribe, that it is subscribed shows that it has one: also from the
// push API.
func (e *Engine) mayPublish(s *Session, rule *channelRule, channel string) bool {
	if _, ok := e.right(s, rule.publish, channel, nil); ok {
		return true
	}
	byGrant := rule.subscribe == config.Granted || rule.subscribe == config.Nobody
	return rule.publish == config.Granted && byGrant && e.follows(s, channel)
}

// publish waits for the broker.
func (e *Engine) publish(s *Session, p *Publication) (at hub.Position, _ *apierror.Error) {
	push := hub.Push{Kind: hub.JSON, Data: p.Data, Event: p.Event, From: s.member.User()}
	if p.Channel != "" {
		push.To.Channels = []string{hub.ChannelTopic + p.Channel}
	} else {
		push.To.Users = []string{hub.UserTopic + p.User}
	}
	var out [1]hub.Published
	e.hub.Publish(e.life, []*hub.Push{&push}, out[:])
	if out[0].Err != nil {
		return hub.Position{}, unavailable("not confirmed; it may have been published anyway")
	}
	if p := out[0].Positions; len(p) > 0 {
		at = p[0].Position
	}
	return at, nil
}

// aboutChannel is the body of subscribe and publish (SPEC §5).
func aboutChannel(channel string, data []byte) []byte {
	b := make([]byte, 0, 32+len(channel)+len(data))
	b = plainjson.AppendString(append(b, `{"channel":`...), channel)
	if data != nil {
		b = append(append(b, `,"data":`...), data...)
	}
	return append(b, '}')
}
