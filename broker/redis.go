package broker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/metrics"
)

// Redis is the broker over a standalone Redis 7.0 or newer, or Valkey: a link, and
// what stands on it.
type Redis struct {
	link       *link
	publisher  *publisher
	subscriber *subscriber
	streams    *streams
	lasting    *lasting
}

var (
	_ Broker  = (*Memory)(nil)
	_ Broker  = (*Redis)(nil)
	_ Streams = (*Redis)(nil)
)

// NewRedis returns a broker that connects at Start.
func NewRedis(cfg config.Redis, nodeID string, m *metrics.Metrics, log *slog.Logger) (*Redis, error) {
	l, err := newLink(cfg, nodeID, m, log)
	if err != nil {
		return nil, err
	}
	streams := newStreams(l)
	streams.lost = m.FanoutDropped.Inc
	b := &Redis{link: l, publisher: newPublisher(l), subscriber: newSubscriber(l, streams), streams: streams}
	b.lasting = newLasting(l, b.subscriber)
	m.Gauge("pushcart_redis_publish_queue", "Publications that wait for Redis.",
		func() float64 { return float64(b.publisher.waiting()) })
	return b, nil
}

// NewSeats returns seats that are counted through b, whose Close ends them. Their
// Start must be called before that of b.
func (b *Redis) NewSeats(l config.Limits) *RedisSeats { return newRedisSeats(b.link, b.subscriber, l) }

// layoutWait is how long Start waits to read the layout.
const layoutWait = time.Second

// Start implements Broker. It refuses a Redis with another layout, if there is a
// Redis to be read; one that comes later is refused then.
func (b *Redis) Start(receive Receiver) error {
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

func (b *Redis) refuseLayout() error {
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
func (b *Redis) Publish(ctx context.Context, batch []Publication) {
	if len(batch) == 0 {
		return
	}
	if !b.Up() {
		fail(batch, ErrUnavailable)
		return
	}
	b.publisher.publish(ctx, batch)
}

// Subscribe implements Broker.
func (b *Redis) Subscribe(ctx context.Context, wanted ...Subscription) error {
	opened := b.streams.open(wanted)
	if err := b.subscriber.await(ctx, wanted); err != nil {
		return err
	}
	b.streams.ensure(opened)
	return b.streams.await(ctx, opened)
}

// Unsubscribe implements Broker.
func (b *Redis) Unsubscribe(topics ...string) {
	b.subscriber.table.leave(topics)
	b.streams.feeds.remove(topics)
}

// Read implements Streams.
func (b *Redis) Read(ctx context.Context, q Query) (Range, error) {
	if !b.Up() {
		return Range{}, ErrUnavailable
	}
	return b.streams.read(ctx, q)
}

// Forget implements Streams.
func (b *Redis) Forget(ctx context.Context, topic string) error {
	if !b.Up() {
		return ErrUnavailable
	}
	_, err := b.streams.wait(ctx, &reading{topic: topic, forget: true})
	return err
}

// Up implements Broker: the last probe came back.
func (b *Redis) Up() bool { return b.link.health.isUp() }

// Health is nil while Redis delivers and can be written. The error says what Redis
// answered, or why there was no answer.
func (b *Redis) Health() error { return b.link.health.err() }

// Close implements Broker.
func (b *Redis) Close() error {
	b.publisher.close()
	b.link.close()
	return nil
}
