package registry

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/broker"
)

// declared are the rules by which a part of a table is declared to the broker. They
// change with the lock held that guards the part: what was declared by the old ones is
// taken back in the same moment, and nothing comes or goes between.
//
// What is declared is always whole, like "two connections of ann are in chat". It is
// declared under that lock, so in the order of what happened; the broker does not wait.
type declared struct {
	rules *Rules
	to    broker.Roster // nil: no broker keeps it
	moves *memberMoves
}

// memberMoves count users whose first connection here came to a channel with presence, or
// whose last one went.
type memberMoves struct{ joins, leaves atomic.Int64 }

// forgotten: the broker knows nothing of what was declared.
func (d *declared) forgotten() { d.rules = &Rules{} }

// user declares that a user came or went.
func (d *declared) user(name string, here bool) {
	if d.to == nil || !d.rules.tell.Users {
		return
	}
	d.to.Declare(userChange(name, here, true, d.rules.offlineDelay))
}

func userChange(name string, here, tell bool, delay time.Duration) broker.Change {
	c := broker.Change{Kind: broker.UserHere, Name: name, Tell: tell, Delay: delay}
	if !here {
		c.Kind = broker.UserGone
	}
	return c
}

// usersBy changes the rules of a part with these users.
func (d *declared) usersBy(r *Rules, names func(yield func(string))) {
	was := d.rules
	d.rules = r
	if d.to == nil || was.tell.Users == r.tell.Users {
		return
	}
	var changes []broker.Change
	names(func(name string) {
		changes = append(changes, userChange(name, r.tell.Users, r.tell.Users, r.offlineDelay))
	})
	d.declare(changes)
}

// channel declares that the first came to a channel, or the last went.
func (d *declared) channel(name string, here bool) {
	if d.to == nil || !d.rules.tell.Channels {
		return
	}
	d.to.Declare(channelChange(name, here, true))
}

func channelChange(name string, here, tell bool) broker.Change {
	c := broker.Change{Kind: broker.ChannelHere, Name: name, Tell: tell}
	if !here {
		c.Kind = broker.ChannelGone
	}
	return c
}

// members are the users of a channel with presence who are subscribed here.
type members map[string]member

type member struct {
	connections int
	info        []byte
}

// Presenter is a connection that says what presence shows of its user.
type Presenter interface {
	// PresenceInfo is JSON of up to 1 KiB, nil for nothing. It does not change.
	PresenceInfo() []byte
}

// count notes that a connection of the channel came, or went, and returns its user.
func (ch *channel) count(c Conn, came bool) (user string) {
	user = c.Member().user
	if user == "" { // nobody in particular
		return ""
	}
	m := ch.members[user]
	switch {
	case came:
		m.connections++
		m.info = nil
		if p, ok := c.(Presenter); ok {
			m.info = p.PresenceInfo()
		}
	case m.connections == 0:
		return ""
	default:
		m.connections--
	}
	if m.connections == 0 {
		delete(ch.members, user)
		return user
	}
	if ch.members == nil {
		ch.members = members{}
	}
	ch.members[user] = m
	return user
}

// member declares that a connection of a channel came or went.
func (d *declared) member(ch *channel, c Conn, came bool) {
	if d.to == nil {
		return
	}
	rule := d.rules.presenceOf(ch.name)
	if !rule.kept {
		return
	}
	user := ch.count(c, came)
	if user == "" {
		return
	}
	switch n := ch.members[user].connections; {
	case came && n == 1:
		d.moves.joins.Add(1)
	case n == 0:
		d.moves.leaves.Add(1)
	}
	d.to.Declare(ch.change(user, rule.frames, d.rules.tell.Members))
}

// change declares how many connections of a user the channel has.
func (ch *channel) change(user string, frames int, tell bool) broker.Change {
	c := broker.Change{Kind: broker.MemberGone, Name: ch.name, User: user, Tell: tell, Frames: frames}
	if m := ch.members[user]; m.connections > 0 {
		c.Kind, c.Connections, c.Info = broker.MemberHere, m.connections, m.info
	}
	return c
}

// channelsBy changes the rules of a part with these channels.
func (d *declared) channelsBy(r *Rules, all map[string]*channel) {
	was := d.rules
	d.rules = r
	occupancy := was.tell.Channels != r.tell.Channels
	if d.to == nil || !occupancy && !was.presence && !r.presence {
		return
	}
	var changes []broker.Change
	for name, ch := range all {
		if occupancy {
			changes = append(changes, channelChange(name, r.tell.Channels, r.tell.Channels))
		}
		old, now := was.presenceOf(name), r.presenceOf(name)
		if old == now && (!now.kept || was.tell.Members == r.tell.Members) {
			continue
		}
		changes = ch.membersBy(changes, old.kept, now, r.tell.Members)
	}
	d.declare(changes)
}

// membersBy appends what another rule changes of a channel's members.
func (ch *channel) membersBy(changes []broker.Change, known bool, rule presence, tell bool) []broker.Change {
	users := slices.Collect(maps.Keys(ch.members))
	switch {
	case !rule.kept:
		ch.members, tell = nil, false
	case !known:
		ch.members = nil
		for _, c := range ch.conns {
			ch.count(c, true)
		}
		users = slices.Collect(maps.Keys(ch.members))
	}
	for _, user := range users {
		changes = append(changes, ch.change(user, rule.frames, tell))
	}
	return changes
}

// declare hands over many changes.
func (d *declared) declare(changes []broker.Change) {
	for part := range slices.Chunk(changes, declareAtOnce) {
		d.to.Declare(part...)
	}
}

// declareAtOnce bounds what one call of Declare takes.
const declareAtOnce = 1000
