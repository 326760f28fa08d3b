package redisbroker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/broker/redisbroker/lists"
	"github.com/pushcart/pushcart/broker/redisbroker/pubsub"
	"github.com/pushcart/pushcart/broker/redisbroker/roster"
	"github.com/pushcart/pushcart/broker/redisbroker/seats"
	"github.com/pushcart/pushcart/broker/redisbroker/streams"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/metrics"
)

// Broker is the broker over Redis 7.0 or newer, or Valkey, standalone, with Sentinel or as a
// Cluster: a link, and what stands on it.
type Broker struct {
	link       *link.Link
	publisher  *pubsub.Publisher
	subscriber *pubsub.Subscriber
	streams    *streams.Streams
	lasting    *lists.Lists
	*roster.Roster
}

var (
	_ broker.Broker  = (*Broker)(nil)
	_ broker.Streams = (*Broker)(nil)
	_ broker.Lasting = (*Broker)(nil)
	_ broker.Seats   = (*seats.Seats)(nil)
)

// New returns a broker that connects at Start.
func New(cfg config.Redis, nodeID string, m *metrics.Metrics, log *slog.Logger) (*Broker, error) {
	l, err := link.New(cfg, nodeID, m, log)
	if err != nil {
		return nil, err
	}
	b := &Broker{link: l, publisher: pubsub.NewPublisher(l), streams: streams.New(l, m.FanoutDropped.Inc)}
	b.subscriber = pubsub.NewSubscriber(l, b.streams)
	b.lasting = lists.New(l, b.subscriber)
	b.Roster = roster.New(rosterLink{l, b.subscriber}, func(facts int) { m.OutboxLost.Add(float64(facts)) })
	m.Gauge("pushcart_redis_publish_queue", "Publications that wait for Redis.",
		func() float64 { return float64(b.publisher.Waiting()) })
	m.Gauge("pushcart_redis_sentinels", "Sentinels that answered when they were last asked where the master is; 0 in other modes.",
		func() float64 { return float64(l.Sentinels()) })
	return b, nil
}

// NewSeats returns seats that are counted through b, whose Close ends them. Their
// Start must be called before that of b.
func (b *Broker) NewSeats(l config.Limits) *seats.Seats { return seats.New(b.link, b.subscriber, l) }

// layoutWait is how long Start waits to read the layout.
const layoutWait = time.Second

// Start implements Broker. It refuses a Redis with another layout, if there is a
// Redis to be read; one that comes later is refused then.
func (b *Broker) Start(receive broker.Receiver) error {
	if err := b.refuseLayout(); err != nil {
		return err
	}
	b.lasting.Listen()
	c := pubsub.NewCanary(b.link, b.publisher, b.subscriber)
	b.link.Start()
	b.streams.Start(receive, b.subscriber.Wanted) // before anything comes
	b.publisher.Start()
	b.subscriber.Start()
	b.lasting.Start()
	c.Start()
	b.Roster.Start()
	return nil
}

func (b *Broker) refuseLayout() error {
	ctx, cancel := context.WithTimeout(b.link.Context(), layoutWait)
	defer cancel()
	line := b.link.Line()
	defer line.HangUp()
	if err := line.CheckLayout(ctx); errors.Is(err, link.ErrLayout) {
		return err
	}
	return nil
}

// Publish implements Broker.
func (b *Broker) Publish(ctx context.Context, batch []broker.Publication) {
	if len(batch) == 0 {
		return
	}
	if b.Up() {
		b.publisher.Publish(ctx, batch)
		return
	}
	b.publishSome(ctx, batch)
}

// publishSome publishes what is for shards that deliver.
func (b *Broker) publishSome(ctx context.Context, batch []broker.Publication) {
	var some []broker.Publication
	var at []int
	for i := range batch {
		if b.UpFor(batch[i].Topic) {
			some, at = append(some, batch[i]), append(at, i)
		}
	}
	pubsub.Fail(batch, broker.ErrUnavailable)
	if len(some) == 0 {
		return
	}
	b.publisher.Publish(ctx, some)
	for n, i := range at {
		batch[i] = some[n]
	}
}

// UpFor implements broker.Broker.
func (b *Broker) UpFor(topic string) bool { return b.link.UpFor(link.TopicPartition(topic)) }

// Subscribe implements Broker.
func (b *Broker) Subscribe(ctx context.Context, wanted ...broker.Subscription) error {
	opening := b.streams.Open(wanted)
	if err := b.subscriber.Await(ctx, wanted); err != nil {
		return err
	}
	return opening.Await(ctx)
}

// Unsubscribe implements Broker.
func (b *Broker) Unsubscribe(topics ...string) {
	b.subscriber.Leave(topics)
	b.streams.Leave(topics)
}

// Read implements Streams.
func (b *Broker) Read(ctx context.Context, q broker.Query) (broker.Range, error) {
	if !b.UpFor(q.Topic) {
		return broker.Range{}, broker.ErrUnavailable
	}
	return b.streams.Read(ctx, q)
}

// Forget implements Streams.
func (b *Broker) Forget(ctx context.Context, topic string) error {
	if !b.UpFor(topic) {
		return broker.ErrUnavailable
	}
	return b.streams.Forget(ctx, topic)
}

// Up implements Broker: the last probe came back.
func (b *Broker) Up() bool { return b.link.Up() }

// Health is nil while Redis delivers and can be written. The error says what Redis
// answered, or why there was no answer.
func (b *Broker) Health() error { return b.link.Err() }

// Close implements Broker.
func (b *Broker) Close() error {
	b.publisher.Close()
	b.link.Close()
	return nil
}
