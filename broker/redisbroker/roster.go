package redisbroker

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker/redisbroker/roster"
	"github.com/pushcart/pushcart/internal/ratelog"
)

// rosterLink is what package roster needs of a link and a subscriber.
type rosterLink struct {
	link       *link
	subscriber *subscriber
}

var _ roster.Link = rosterLink{}

func (r rosterLink) Node() string { return r.link.node }

func (r rosterLink) Context() context.Context { return r.link.ctx }

func (r rosterLink) Up() bool { return r.link.health.isUp() }

func (r rosterLink) Partition(name string) int { return partitionOf(name) }

func (r rosterLink) Keys(p int) string { return r.link.keys.in[p] }

func (r rosterLink) Channels(p int) string { return r.link.keys.topics[p] }

func (r rosterLink) Line(scripts ...string) roster.Line {
	return rosterLine{&line{link: r.link, scripts: scripts}}
}

func (r rosterLink) Run(where string, loop func()) { r.link.run(where, loop) }

func (r rosterLink) Listen(p int, topic string, take func(payload string), confirmed func()) {
	r.subscriber.listen(topic, listener{channel: r.link.keys.topics[p] + topic, take: take, confirmed: confirmed})
}

func (r rosterLink) Log() *ratelog.Logger { return r.link.health.rate }

// rosterLine is what package roster needs of a line.
type rosterLine struct{ line *line }

// Exchange implements roster.Line.
func (n rosterLine) Exchange(ctx context.Context, fill func(redis.Pipeliner)) ([]redis.Cmder, error) {
	cmds, err := n.line.exchange(ctx, fill)
	if err != nil {
		return nil, err
	}
	for _, c := range cmds {
		if judge(c.Err()) == elsewhere {
			n.line.hangUp()
			break
		}
	}
	return cmds, nil
}

// HangUp implements roster.Line.
func (n rosterLine) HangUp() { n.line.hangUp() }
