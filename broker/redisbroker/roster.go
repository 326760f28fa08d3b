package redisbroker

import (
	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/broker/redisbroker/pubsub"
	"github.com/pushcart/pushcart/broker/redisbroker/roster"
)

// rosterLink is what package roster needs of a link and a subscriber.
type rosterLink struct {
	*link.Link
	subscriber *pubsub.Subscriber
}

var _ roster.Link = rosterLink{}

func (r rosterLink) Partition(name string) int { return link.PartitionOf(name) }

func (r rosterLink) Keys(p int) string { return r.Link.Keys().In(p) }

func (r rosterLink) Channels(p int) string { return r.Link.Keys().ChannelsIn(p) }

func (r rosterLink) Line(scripts ...string) roster.Line {
	line := r.Link.Line(scripts...)
	r.AtEnd(line.HangUp)
	return rosterLine{line}
}

func (r rosterLink) Listen(p int, topic string, take func(payload string), confirmed func()) {
	r.subscriber.Listen(topic, pubsub.Listener{Channel: r.Channels(p) + topic, Take: take, Confirmed: confirmed})
}

// rosterLine is what package roster needs of a line.
type rosterLine struct{ *link.Line }

// HangUp implements roster.Line: a line does so by itself with those servers that gave it a
// reason.
func (rosterLine) HangUp() {}
