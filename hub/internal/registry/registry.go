package registry

import (
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/ids"
)

// Registry is who is here: the connections of a node by number, user and channel.
type Registry struct {
	Table    table
	Users    users
	Channels channels

	node    string
	numbers *ids.Numbers
	moves   *memberMoves
}

// NewRegistry returns an empty registry, which declares to a roster what the rules say,
// or to none if that is nil.
func NewRegistry(node string, to broker.Roster) *Registry {
	r := &Registry{node: node, numbers: ids.NewNumbers(), moves: &memberMoves{}}
	d := declared{rules: &Rules{}, to: to, moves: r.moves}
	r.Table.init()
	r.Users.init(d)
	r.Channels.init(d)
	return r
}

// NewMember returns the record of a connection to come, with its id.
func (r *Registry) NewMember() Member {
	return Member{in: r, id: r.numbers.Next(), since: time.Now().UnixMilli() << 1}
}

// Enter registers c as a user's, "" for anonymous; its Member came from NewMember.
func (r *Registry) Enter(c Conn, user string) {
	m := c.Member()
	m.user = user
	r.Table.add(m.id, c)
}

// EnterFollower is Enter for a connection that follows streams.
func (r *Registry) EnterFollower(c Conn, user string) {
	c.Member().since |= 1
	r.Enter(c, user)
}

// Connection finds a connection by its id, nil if it is not here.
func (r *Registry) Connection(id string) Conn {
	node, n, ok := ids.ParseConnection(id)
	if !ok || node != r.node {
		return nil
	}
	return r.Table.Get(n)
}

// AppendConns appends the connections that a topic is for.
func (r *Registry) AppendConns(dst []Conn, topic string) []Conn {
	switch kind, name := SplitTopic(topic); kind {
	case UserTopic:
		return r.Users.AppendTo(dst, name)
	case ChannelTopic:
		return r.Channels.AppendTo(dst, name)
	case AllTopic:
		return r.Table.AppendTo(dst)
	}
	return dst
}

// Declare applies new rules: it declares to the broker what only they keep, and withdraws
// what only the old ones kept. With all, the broker forgot everything: all is declared.
func (r *Registry) Declare(rules *Rules, all bool) {
	r.Users.by(rules, all)
	r.Channels.by(rules, all)
}

// Joins counts the users whose first connection here came to a channel with presence.
func (r *Registry) Joins() int64 { return r.moves.joins.Load() }

// Leaves counts those whose last one went.
func (r *Registry) Leaves() int64 { return r.moves.leaves.Load() }
