package session

import (
	"slices"
	"time"

	"github.com/pushcart/pushcart/auth"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
)

// lease is a subscription that only tokens gave: it ends with them.
type lease struct {
	channel string
	main    bool   // the connection's token gives it
	own     uint32 // when that of a token of its own ends, in Unix seconds; 0: there is none
}

// revocable says whether anything may end the lease.
func (l *lease) revocable() bool { return l.channel != "" }

// granted says whether a channel is granted, and by what: without a lease for good.
func (d *dialog) granted(s *Session, channel string, own *auth.Identity) (l lease, ok bool) {
	user := s.member.User()
	d.mu.Lock()
	defer d.mu.Unlock()
	has := d.rightsLocked()
	if has.connect.cover(channel, user) {
		return lease{}, true
	}
	l = lease{channel: channel, main: has.token.cover(channel, user)}
	if own != nil {
		if g, _ := newGrants(own.Channels); g.cover(channel, user) {
			l.own = endOf(own.ExpiresAt)
		}
	}
	if !l.main && l.own == 0 {
		i := has.lease(channel)
		return lease{}, i >= 0 && has.leases[i].own > 0
	}
	return l, true
}

// lease is the index of a channel's, -1 if it has none.
func (r *rights) lease(channel string) int {
	return slices.IndexFunc(r.leases, func(l lease) bool { return l.channel == channel })
}

// hold notes a lease of a subscription that began; false: its token was replaced since.
func (e *Engine) hold(s *Session, t Transport, l lease) bool {
	d := s.dialog()
	d.mu.Lock()
	defer d.mu.Unlock()
	has := d.changeLocked()
	l.main = l.main && has.token.cover(l.channel, s.member.User())
	if !l.main && l.own == 0 {
		return false
	}
	if i := has.lease(l.channel); i >= 0 {
		l.own = max(l.own, has.leases[i].own)
		has.leases[i] = l
	} else {
		has.leases = append(has.leases, l)
	}
	e.armLocked(s, t, d)
	return true
}

// drop forgets a lease.
func (d *dialog) drop(channel string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if has := d.rights; has != nil {
		has.leases = slices.DeleteFunc(has.leases, func(l lease) bool { return l.channel == channel })
	}
}

// armLocked has the leases looked at when the first token of their own ends.
func (e *Engine) armLocked(s *Session, t Transport, d *dialog) {
	first, has := uint32(always), d.changeLocked()
	for _, l := range has.leases {
		if l.own > 0 {
			first = min(first, l.own)
		}
	}
	switch {
	case first == always || d.over:
	case has.timer == nil:
		has.timer = time.AfterFunc(time.Until(time.Unix(int64(first), 0)), func() { e.expire(s, t) })
	default:
		has.timer.Reset(time.Until(time.Unix(int64(first), 0)))
	}
}

// expire ends the subscriptions whose own token ended, if no other gives them.
func (e *Engine) expire(s *Session, t Transport) {
	defer e.guard.Recover("end of a subscription", e.failed(t))
	now := uint32(time.Now().Unix())
	e.review(s, t, func(l *lease) {
		if l.own <= now {
			l.own = 0
		}
	})
}

// review changes all leases, and ends the subscriptions that then have nothing to stand
// on.
func (e *Engine) review(s *Session, t Transport, change func(l *lease)) {
	d := s.dialog()
	d.mu.Lock()
	has, over := d.changeLocked(), []string(nil)
	kept := has.leases[:0]
	for _, l := range has.leases {
		if change(&l); l.main || l.own > 0 {
			kept = append(kept, l)
		} else {
			over = append(over, l.channel)
		}
	}
	clear(has.leases[len(kept):])
	has.leases = kept
	e.armLocked(s, t, d)
	d.mu.Unlock()
	for _, channel := range over {
		e.revoke(s, t, channel)
	}
}

// revoke ends a subscription that a token gave, unless the rules let the client have it
// without, and tells the client.
func (e *Engine) revoke(s *Session, t Transport, channel string) {
	word := e.settings.Load().rules.of(channel, s.member.User()).subscribe
	open := word == config.Anyone || word == config.AnyUser && s.member.User() != ""
	if open || !e.hub.Unfollow(t, channel) {
		return
	}
	t.Send([]*hub.Message{{Kind: hub.Unsubscribed, Topic: hub.ChannelTopic + channel}})
}
