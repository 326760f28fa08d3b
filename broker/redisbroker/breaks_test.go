package redisbroker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

// keptLong is a rule that drops nothing while a test runs.
var keptLong = broker.Retention{Messages: 100_000, Age: time.Hour}

// witness is a node that holds every stream to its promises: it notes all that its
// receiver is told, and complains of what comes twice, too early or out of order.
type witness struct {
	*redisbroker.Broker
	log     testkit.Log
	metrics *metrics.Metrics

	mu     sync.Mutex // guards all below
	topics map[string][]broker.Message
	wrong  []string
}

func newWitness(t testing.TB, addr string, i int) *witness {
	t.Helper()
	return newWitnessAt(t, config.Redis{Addresses: []string{addr}}, i)
}

func newWitnessAt(t testing.TB, cfg config.Redis, i int) *witness {
	t.Helper()
	cfg.Prefix = "pc"
	w := &witness{topics: map[string][]broker.Message{}, metrics: metrics.New("test", "")}
	b, err := redisbroker.New(cfg, fmt.Sprint("node", i),
		w.metrics, slog.New(slog.NewTextHandler(&w.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	w.Broker = b
	if err := b.Start(w.receive); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.wrong) > 0 {
			t.Errorf("node %d, %d faults: %s", i, len(w.wrong), strings.Join(w.wrong[:min(len(w.wrong), 5)], "\n"))
		}
	})
	return w
}

// witnesses are nodes that are up.
func witnesses(t testing.TB, addrs ...string) (nodes []*witness) {
	t.Helper()
	for i, addr := range addrs {
		nodes = append(nodes, newWitness(t, addr, i))
	}
	for _, n := range nodes {
		testkit.Eventually(t, "a node is up", n.Up)
	}
	return nodes
}

func (w *witness) receive(m broker.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.topics[m.Topic]
	if fault := faultOf(all, m); fault != "" {
		w.wrong = append(w.wrong, fmt.Sprintf("%s: %s: kind %d at %+v %.20q", fault, m.Topic, m.Kind, m.Position, m.Payload))
	}
	w.topics[m.Topic] = append(all, m)
}

// faultOf says why m must not come after all others of its topic.
func faultOf(all []broker.Message, m broker.Message) string {
	if len(all) == 0 {
		if m.Kind != broker.Opened {
			return "not opened"
		}
		return ""
	}
	if m.Kind != broker.Published || m.Position.Offset == 0 {
		return ""
	}
	for i := len(all) - 1; i >= 0; i-- {
		if last := all[i]; last.Position.Epoch != "" {
			if m.Position.Offset != last.Position.Offset+1 {
				return fmt.Sprintf("after %+v", last.Position)
			}
			break
		}
	}
	return ""
}

func (w *witness) listen(t testing.TB, topics ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var wanted []broker.Subscription
	for _, topic := range topics {
		wanted = append(wanted, broker.Subscription{Topic: topic, Keep: keptLong})
	}
	if err := w.Subscribe(ctx, wanted...); err != nil {
		t.Fatal(err)
	}
}

func (w *witness) heard(topic string) []broker.Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]broker.Message(nil), w.topics[topic]...)
}

// last is the latest position that the node was told of.
func (w *witness) last(topic string) broker.Position {
	all := w.heard(topic)
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Position.Epoch != "" {
			return all[i].Position
		}
	}
	return broker.Position{}
}

// count is how many messages of a kind came.
func (w *witness) count(topic string, k broker.Kind) (n int) {
	for _, m := range w.heard(topic) {
		if m.Kind == k {
			n++
		}
	}
	return n
}

// text are the payloads that came since the last Lost, with spaces between, and how often
// messages were lost.
func (w *witness) text(topic string) (payloads string, lost int) {
	var texts []string
	for _, m := range w.heard(topic) {
		switch m.Kind {
		case broker.Lost:
			texts, lost = nil, lost+1
		case broker.Published:
			texts = append(texts, string(m.Payload))
		}
	}
	return strings.Join(texts, " "), lost
}

// await waits until a node was told what the tests expects of text.
func (w *witness) await(t testing.TB, topic, want string, lost int) {
	t.Helper()
	if !testkit.Until(func() bool {
		got, n := w.text(topic)
		return got == want && n >= lost
	}) {
		t.Logf("log:\n%s", w.log.String())
	}
	if got, n := w.text(topic); got != want || n != lost {
		t.Fatalf("%s: got %q after %d losses, want %q after %d", topic, got, n, want, lost)
	}
}

// put publishes one.
func (w *witness) put(p broker.Publication) broker.Publication {
	batch := []broker.Publication{p}
	w.Publish(context.Background(), batch)
	return batch[0]
}

// keep publishes text until that is confirmed; the id keeps it from coming twice.
func (w *witness) keep(t testing.TB, topic, text string) broker.Position {
	t.Helper()
	return w.keepAs(t, broker.Publication{Topic: topic, Payload: []byte(text), ID: text, Digest: 1, Keep: keptLong})
}

func (w *witness) keepAs(t testing.TB, p broker.Publication) broker.Position {
	t.Helper()
	var got broker.Publication
	if !testkit.Until(func() bool { got = w.put(p); return got.Err == nil }) {
		t.Fatalf("publish %s: %v", p.ID, got.Err)
	}
	return got.Position
}

func (w *witness) read(t testing.TB, q broker.Query) broker.Range {
	t.Helper()
	if !q.Keep.Keeps() {
		q.Keep = keptLong
	}
	var r broker.Range
	testkit.Eventually(t, "it can be read", func() (ok bool) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		var err error
		if r, err = w.Read(ctx, q); err != nil && !errors.Is(err, broker.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
	return r
}

// wantRead wants what is read after a position: payloads with spaces between, and whether
// there is a gap before them.
func (w *witness) wantRead(t testing.TB, topic string, after broker.Position, gap bool, want string) {
	t.Helper()
	r := w.read(t, broker.Query{Topic: topic, After: after})
	var texts []string
	for _, m := range r.Messages {
		texts = append(texts, string(m.Payload))
	}
	if got := strings.Join(texts, " "); got != want || r.Gap != gap {
		t.Errorf("%s after %+v: got %q, gap %v, want %q, gap %v", topic, after, got, r.Gap, want, gap)
	}
}

// The library's own lines are not what these tests are about.
func init() { logging.Disable() }

// A network that forgot all connections is noticed by the first command that is not answered,
// not by the next of the probes, which go out every 5 s.
func TestRedis_ACommandThatIsNotAnsweredHasTheSubscriptionProbed(t *testing.T) {
	vip := redistest.NewVIP(t, redistest.Start(t).Addr)
	b, _ := started(t, vip.Addr)
	testkit.Eventually(t, "it is up", b.Up) // a probe came back just now
	began := time.Now()
	defer vip.Forget()()
	for b.Up() {
		publish(b)
		if time.Since(began) > 20*time.Second {
			t.Fatal("it is not noticed")
		}
	}
	if d := time.Since(began); d > 6*time.Second {
		t.Errorf("noticed after %v, want 1.5 s for the command and 3 s for the probe", d)
	}
	testkit.Eventually(t, "it is up again", b.Up)
}
