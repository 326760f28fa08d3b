package redisbroker

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

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
	return &rosterLine{Line: line}
}

func (r rosterLink) Listen(p int, topic string, take func(payload string), confirmed func()) {
	r.subscriber.Listen(topic, pubsub.Listener{Channel: r.Channels(p) + topic, Take: take, Confirmed: confirmed})
}

// rosterLine is what package roster needs of a line.
type rosterLine struct {
	*link.Line
	fits   int    // the last connection whose server has this version's layout
	failed uint64 // see Failed
}

// Exchange implements roster.Line.
func (n *rosterLine) Exchange(ctx context.Context, fill func(redis.Pipeliner)) ([]redis.Cmder, error) {
	if err := n.fit(ctx); err != nil {
		return nil, err
	}
	cmds, err := n.Line.Exchange(ctx, fill)
	if err != nil {
		return nil, err
	}
	n.failed = n.FailedIn()
	_ = n.fit(ctx) // it may have connected again; what is wrong there the next one finds
	return cmds, nil
}

// Failed implements roster.Line.
func (n *rosterLine) Failed() uint64 { return n.failed }

// fit has the layout checked when a server was connected to since.
func (n *rosterLine) fit(ctx context.Context) error {
	if n.fits != 0 && n.fits == n.Made() {
		return nil
	}
	err := n.CheckLayout(ctx)
	switch {
	case err == nil || link.RefusesWrites(err):
		n.fits = n.Made()
		return nil
	case errors.Is(err, link.ErrLayout):
		n.Line.HangUp()
		return err
	case n.Routed(): // others may be there, to which it was said to fit
		return nil
	}
	return err
}

// HangUp implements roster.Line: a line does so by itself with those servers that gave it a
// reason.
func (n *rosterLine) HangUp() {}
