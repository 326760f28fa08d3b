package redisbroker

import (
	"context"

	"github.com/pushcart/pushcart/broker"
)

// WatchLasting implements broker.Lasting.
func (b *Broker) WatchLasting(f func()) { b.lasting.Watch(f) }

// MayLast implements broker.Lasting.
func (b *Broker) MayLast(topic string) bool { return b.lasting.May(topic) }

// Lasting implements broker.Lasting.
func (b *Broker) Lasting(ctx context.Context, topics ...string) ([][]string, error) {
	for _, topic := range topics {
		if !b.UpFor(topic) {
			return nil, broker.ErrUnavailable
		}
	}
	return b.lasting.Read(ctx, topics)
}

// ChangeLasting implements broker.Lasting.
func (b *Broker) ChangeLasting(ctx context.Context, change broker.LastingChange) (nodes int, err error) {
	if !b.UpFor(change.Topic) {
		return 0, broker.ErrUnavailable
	}
	return b.lasting.Change(ctx, change)
}
