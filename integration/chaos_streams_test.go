package integration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// chaosTime is how long a chaos test goes on, in make chaos or in its short form.
func chaosTime(short time.Duration) time.Duration {
	if d := sidecartest.Chaos(); d > 0 {
		return d
	}
	return short
}

const chaosStreams = 50

func streamName(i int) string { return fmt.Sprint("s.", i) }

// post is one message as the checker knows it: number is its own, era how often Redis
// had lost everything before it was published.
type post struct {
	stream, number, publisher, era int
	position
	confirmed time.Time
}

type position struct {
	Offset uint64 `json:"offset"`
	Epoch  string `json:"epoch"`
}

// chaos is the truth about what was published.
type chaos struct {
	nodes []*sidecartest.Sidecar
	redis *deployment
	// era is only changed while nothing is published.
	publishing sync.RWMutex
	era        int

	numbers atomic.Int64
	mu      sync.Mutex // guards posts
	posts   map[int]post
}

// TestChaos_StreamsLoseNothing: 8 publishers on 2 nodes push to 50
// streams and repeat ids at random, while connections to Redis are cut, Redis is killed
// and comes back with its data, and once without. Whoever reads by positions, and whoever
// is connected, gets each message once and in order, or is told of a gap where everything
// was lost, and nowhere else.
func TestChaos_StreamsLoseNothing(t *testing.T) { streamsLoseNothing(t, newStandalone(t)) }

// TestChaos_StreamsOfAClusterLoseNothing: the same while primaries are killed, hang or hand
// over, and slots move.
func TestChaos_StreamsOfAClusterLoseNothing(t *testing.T) {
	sidecartest.OnceWithoutRace(t)
	streamsLoseNothing(t, newCluster(t))
}

// TestChaos_StreamsOfSentinelLoseNothing: the same while the master is killed, hangs or is
// replaced.
func TestChaos_StreamsOfSentinelLoseNothing(t *testing.T) {
	sidecartest.OnceWithoutRace(t)
	streamsLoseNothing(t, newSentinel(t))
}

// TestChaos_StreamsOfAClusterLoseWhatNoReplicaHad: primaries are killed at any moment. Of
// their streams, and only of them, the last moment may be missing, behind a gap for those
// who had more.
func TestChaos_StreamsOfAClusterLoseWhatNoReplicaHad(t *testing.T) {
	sidecartest.OnceWithoutRace(t)
	streamsLoseNothing(t, newLossyCluster(t))
}

func streamsLoseNothing(t *testing.T, redis *deployment) {
	yaml := withJWT + "\nredis: {" + redis.yaml + "}\nchannels: [{match: 's.*', history: {messages: 100000, age: 1h}}]" +
		"\nwebsocket: {outbox: {messages: 100000, bytes: 64MiB}}"
	c := &chaos{redis: redis, nodes: []*sidecartest.Sidecar{sidecartest.Start(t, yaml), sidecartest.Start(t, yaml)}, posts: map[int]post{}}
	for _, n := range c.nodes {
		n.AwaitRedis(t, http.StatusOK)
	}
	var readers []*streamReader
	for i := range 2 * chaosStreams {
		readers = append(readers, &streamReader{chaos: c, node: c.nodes[i%2], stream: i / 2})
	}
	var live []*liveReader
	for _, n := range c.nodes {
		live = append(live, startLive(t, c, n))
	}

	end := time.Now().Add(chaosTime(14 * time.Second))
	var publishers, reading sync.WaitGroup
	for p := range 8 {
		publishers.Go(func() { c.publish(t, p, end) })
	}
	stop := make(chan struct{})
	inGroups(readers, 10, func(group []*streamReader) {
		reading.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, r := range group {
					r.read(t)
				}
			}
		})
	})
	c.disturb(t, live, end)
	publishers.Wait()
	for _, n := range c.nodes {
		n.AwaitRedis(t, http.StatusOK)
	}
	close(stop)
	reading.Wait()
	for _, r := range readers {
		r.finish(t)
		r.check(t)
	}
	for _, l := range live {
		l.check(t)
	}
	t.Logf("%d messages in %d eras", len(c.posts), c.era+1)
}

// inGroups calls do with parts of all.
func inGroups[T any](all []T, n int, do func([]T)) {
	for i := 0; i < len(all); i += n {
		do(all[i:min(i+n, len(all))])
	}
}

// disturb breaks Redis in turns, and once, half-way, has it lose everything.
func (c *chaos) disturb(t *testing.T, live []*liveReader, end time.Time) {
	flush := time.Now().Add(time.Until(end) / 2)
	for turn := 0; time.Now().Before(end); turn++ {
		pause := time.NewTimer(time.Second + rand.N(time.Second))
		<-pause.C
		if c.era == 0 && c.redis.empty != nil && time.Now().After(flush) {
			c.publishing.Lock()
			// What Redis confirmed and nobody got is lost untold (SPEC §8).
			for _, l := range live {
				testkit.Eventually(t, "what was published is there", func() bool { return l.missing() == 0 })
			}
			c.redis.empty()
			c.era++
			c.publishing.Unlock()
			continue
		}
		c.redis.breaks[turn%len(c.redis.breaks)]()
	}
}

// publish pushes one message after the other, each until it is confirmed.
func (c *chaos) publish(t *testing.T, publisher int, end time.Time) {
	var last post
	for time.Now().Before(end) {
		p := post{stream: rand.IntN(chaosStreams), number: int(c.numbers.Add(1)), publisher: publisher}
		c.publishing.RLock()
		p.era = c.era
		if last.number > 0 && last.era == c.era && c.redis.empty != nil && rand.IntN(5) == 0 { // an id is repeated
			again := last
			if c.push(t, &again); again.position != last.position {
				t.Errorf("push %d: repeated at %+v, first at %+v", last.number, again.position, last.position)
			}
		}
		c.push(t, &p)
		c.mu.Lock()
		c.posts[p.number] = p
		c.mu.Unlock()
		c.publishing.RUnlock()
		last = p
	}
}

// push repeats a push until it is confirmed, and notes its position.
func (c *chaos) push(t *testing.T, p *post) {
	body := fmt.Sprintf(`{"to":{"channels":[%q]},"data":%d,"id":"n%d"}`, streamName(p.stream), p.number, p.number)
	testkit.Eventually(t, "a push is confirmed", func() bool {
		status, answer := call(t, "POST", "http://"+c.nodes[rand.IntN(2)].Push+"/v1/push", "application/json", body)
		if status == http.StatusServiceUnavailable {
			return false
		}
		var a struct{ Positions map[string]position }
		if err := json.Unmarshal([]byte(answer), &a); status != http.StatusOK || err != nil {
			t.Errorf("push %d: %d %s", p.number, status, answer)
		}
		p.position, p.confirmed = a.Positions["channel:"+streamName(p.stream)], time.Now()
		return true
	})
}

// streamReader reads a stream by positions through the API, as somebody does who comes
// back again and again.
type streamReader struct {
	chaos  *chaos
	node   *sidecartest.Sidecar
	stream int
	at     *position
	// segments are what it read, between gaps.
	segments [][]readMessage
}

type readMessage struct {
	Offset uint64
	Data   int
}

// read reads what is new. It says whether there was nothing.
func (r *streamReader) read(t *testing.T) (end bool) {
	path := "/v1/channels/" + streamName(r.stream) + "/history?limit=50"
	if r.at != nil {
		path += "&after=" + strconv.FormatUint(r.at.Offset, 10) + "&epoch=" + r.at.Epoch
	}
	status, answer := call(t, "GET", "http://"+r.node.Push+path, "", "")
	if status == http.StatusServiceUnavailable {
		return false
	}
	var page struct {
		Messages  []readMessage
		Position  position
		Recovered *bool
		More      bool
	}
	if err := json.Unmarshal([]byte(answer), &page); status != http.StatusOK || err != nil {
		t.Errorf("history: %d %s", status, answer)
		return true
	}
	if r.at == nil || !*page.Recovered {
		r.segments = append(r.segments, nil)
	}
	current := &r.segments[len(r.segments)-1]
	*current = append(*current, page.Messages...)
	if n := len(page.Messages); n > 0 {
		r.at = &position{page.Messages[n-1].Offset, page.Position.Epoch}
	} else if page.Position.Epoch != "" {
		r.at = &page.Position
	}
	return !page.More && len(page.Messages) == 0
}

func (r *streamReader) finish(t *testing.T) {
	testkit.Eventually(t, "everything is read", func() bool { return r.read(t) })
}

// check compares what was read with what was published: in each era everything, once, in
// the order of its positions, and of each publisher.
func (r *streamReader) check(t *testing.T) {
	var all []readMessage
	seen := map[int]bool{}
	era := -1
	for s, segment := range r.segments {
		for i, m := range segment {
			p, known := r.chaos.posts[m.Data]
			switch {
			case !known:
				t.Errorf("stream %d: read %d, which nobody published", r.stream, m.Data)
			case seen[m.Data]:
				t.Errorf("stream %d: %d came twice", r.stream, m.Data)
			case i > 0 && m.Offset != segment[i-1].Offset+1:
				t.Errorf("stream %d: offset %d after %d, and no gap", r.stream, m.Offset, segment[i-1].Offset)
			case p.Offset != m.Offset:
				t.Errorf("stream %d: %d is at %d, its push said %d", r.stream, m.Data, m.Offset, p.Offset)
			case i > 0 && p.era != era:
				t.Errorf("stream %d: everything was lost before %d, and no gap", r.stream, m.Data)
			case s > 0 && i == 0 && p.era == era && !r.chaos.redis.lossy(streamName(r.stream)):
				t.Errorf("stream %d: a gap where nothing was lost, before %d", r.stream, m.Data)
			}
			era, seen[m.Data] = p.era, true
		}
		all = append(all, segment...)
	}
	r.chaos.ordered(t, fmt.Sprint("a reader of stream ", r.stream), all)
	for n, p := range r.chaos.posts {
		// What was lost before it was read is lost.
		if p.stream == r.stream && p.era == r.chaos.era && !seen[n] && !r.chaos.mayBeLost(p) {
			t.Errorf("stream %d: %d at %+v was not read", r.stream, n, p.position)
		}
	}
}

// mayBeLost says whether a takeover may have lost a message that was confirmed.
func (c *chaos) mayBeLost(p post) bool { return c.redis.lost(streamName(p.stream), p.confirmed) }

// ordered: of each publisher the messages are in order.
func (c *chaos) ordered(t *testing.T, who string, all []readMessage) {
	t.Helper()
	last := map[int]int{}
	for _, m := range all {
		p := c.posts[m.Data]
		if m.Data <= last[p.publisher] {
			t.Errorf("%s: %d of publisher %d after %d", who, m.Data, p.publisher, last[p.publisher])
		}
		last[p.publisher] = m.Data
	}
}

// liveReader is a raw connection that is subscribed to every stream.
type liveReader struct {
	chaos *chaos
	mu    sync.Mutex // guards got
	got   []int
}

func startLive(t *testing.T, c *chaos, n *sidecartest.Sidecar) *liveReader {
	l := &liveReader{chaos: c}
	var names []string
	for i := range chaosStreams {
		names = append(names, streamName(i))
	}
	conn := dial(t, n, bearer(token("live", names...)))
	go l.run(conn)
	return l
}

func (l *liveReader) run(conn *websocket.Conn) {
	for {
		_, b, err := conn.ReadMessage()
		if err != nil {
			return
		}
		n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		l.mu.Lock()
		l.got = append(l.got, n)
		l.mu.Unlock()
	}
}

// missing counts the messages that did not come yet.
func (l *liveReader) missing() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[int]bool{}
	for _, g := range l.got {
		seen[g] = true
	}
	l.chaos.mu.Lock()
	defer l.chaos.mu.Unlock()
	for number, p := range l.chaos.posts {
		if !seen[number] && !l.chaos.mayBeLost(p) {
			n++
		}
	}
	return n
}

// check: what Redis did not lose came once and in order, also what was published while
// the node was cut off.
func (l *liveReader) check(t *testing.T) {
	testkit.Until(func() bool { return l.missing() == 0 })
	if n := l.missing(); n > 0 {
		t.Errorf("a connection missed %d of %d messages", n, len(l.chaos.posts))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[int]bool{}
	last := make([]map[int]int, chaosStreams)
	for _, n := range l.got {
		p := l.chaos.posts[n]
		if seen[n] {
			t.Errorf("%d came twice to a connection", n)
		}
		seen[n] = true
		if last[p.stream] == nil {
			last[p.stream] = map[int]int{}
		}
		if n <= last[p.stream][p.publisher] {
			t.Errorf("stream %d: %d of publisher %d after %d", p.stream, n, p.publisher, last[p.stream][p.publisher])
		}
		last[p.stream][p.publisher] = n
	}
}
