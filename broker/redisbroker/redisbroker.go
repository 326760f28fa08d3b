package redisbroker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/metrics"
)

// Broker is the broker over a standalone Redis 7.0 or newer, or Valkey: a link, and
// what stands on it.
type Broker struct {
	link       *link
	publisher  *publisher
	subscriber *subscriber
	streams    *streams
	lasting    *lasting
}

var (
	_ broker.Broker  = (*Broker)(nil)
	_ broker.Streams = (*Broker)(nil)
	_ broker.Lasting = (*Broker)(nil)
	_ broker.Seats   = (*Seats)(nil)
)

// New returns a broker that connects at Start.
func New(cfg config.Redis, nodeID string, m *metrics.Metrics, log *slog.Logger) (*Broker, error) {
	l, err := newLink(cfg, nodeID, m, log)
	if err != nil {
		return nil, err
	}
	streams := newStreams(l)
	streams.lost = m.FanoutDropped.Inc
	b := &Broker{link: l, publisher: newPublisher(l), subscriber: newSubscriber(l, streams), streams: streams}
	b.lasting = newLasting(l, b.subscriber)
	m.Gauge("pushcart_redis_publish_queue", "Publications that wait for Redis.",
		func() float64 { return float64(b.publisher.waiting()) })
	return b, nil
}

// NewSeats returns seats that are counted through b, whose Close ends them. Their
// Start must be called before that of b.
func (b *Broker) NewSeats(l config.Limits) *Seats { return newSeats(b.link, b.subscriber, l) }

// layoutWait is how long Start waits to read the layout.
const layoutWait = time.Second

// Start implements Broker. It refuses a Redis with another layout, if there is a
// Redis to be read; one that comes later is refused then.
func (b *Broker) Start(receive broker.Receiver) error {
	if err := b.refuseLayout(); err != nil {
		return err
	}
	b.lasting.listen()
	c := newCanary(b.link, b.publisher, b.subscriber)
	b.streams.hand = receive
	b.streams.wanted = b.subscriber.table.wants
	b.link.run("publishing to Redis", b.publisher.run)
	b.link.run("subscription at Redis", b.subscriber.run)
	b.link.run("reading from Redis", b.streams.run)
	b.link.run("lists in Redis", b.lasting.run)
	b.link.run("probes of Redis", c.watch)
	return nil
}

func (b *Broker) refuseLayout() error {
	ctx, cancel := context.WithTimeout(b.link.ctx, layoutWait)
	defer cancel()
	client := b.link.connect()
	defer client.Close()
	if err := b.link.checkLayout(ctx, client); errors.Is(err, ErrLayout) {
		return err
	}
	return nil
}

// Publish implements Broker.
func (b *Broker) Publish(ctx context.Context, batch []broker.Publication) {
	if len(batch) == 0 {
		return
	}
	if !b.Up() {
		fail(batch, broker.ErrUnavailable)
		return
	}
	b.publisher.publish(ctx, batch)
}

// Subscribe implements Broker.
func (b *Broker) Subscribe(ctx context.Context, wanted ...broker.Subscription) error {
	opened := b.streams.open(wanted)
	if err := b.subscriber.await(ctx, wanted); err != nil {
		return err
	}
	b.streams.ensure(opened)
	return b.streams.await(ctx, opened)
}

// Unsubscribe implements Broker.
func (b *Broker) Unsubscribe(topics ...string) {
	b.subscriber.table.leave(topics)
	b.streams.feeds.remove(topics)
}

// Read implements Streams.
func (b *Broker) Read(ctx context.Context, q broker.Query) (broker.Range, error) {
	if !b.Up() {
		return broker.Range{}, broker.ErrUnavailable
	}
	return b.streams.read(ctx, q)
}

// Forget implements Streams.
func (b *Broker) Forget(ctx context.Context, topic string) error {
	if !b.Up() {
		return broker.ErrUnavailable
	}
	_, err := b.streams.wait(ctx, &reading{topic: topic, forget: true})
	return err
}

// Up implements Broker: the last probe came back.
func (b *Broker) Up() bool { return b.link.health.isUp() }

// Health is nil while Redis delivers and can be written. The error says what Redis
// answered, or why there was no answer.
func (b *Broker) Health() error { return b.link.health.err() }

// Close implements Broker.
func (b *Broker) Close() error {
	b.publisher.close()
	b.link.close()
	return nil
}
