package integration

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// buriedIn is how long after a node's death everything that ended with it is told (SPEC §5
// Safety), with what a slow test machine takes.
const buriedIn = 15*time.Second + 5*time.Second

const dialsAtOnce = 8

// company opens connections to a node, each of a user of its own who is in the channel
// c.1, and returns how each ends.
func company(t *testing.T, s *sidecartest.Sidecar, n int, user string) (ends chan error) {
	t.Helper()
	conns, ends := make([]*websocket.Conn, n), make(chan error, n)
	var dialling sync.WaitGroup
	for first := range dialsAtOnce {
		dialling.Go(func() {
			for i := first; i < n; i += dialsAtOnce {
				var err error
				if conns[i], err = tryDial(s, "/_push", bearer(token(fmt.Sprint(user, i), "c.1"))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	dialling.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, c := range conns {
		t.Cleanup(func() { _ = c.Close() })
		go func() {
			for { // so that pings are answered
				if _, _, err := c.ReadMessage(); err != nil {
					ends <- err
					return
				}
			}
		}()
	}
	return ends
}

// distinct counts the ids of a kind of event.
func (b *backend) distinct(kind string) int {
	ids := map[string]bool{}
	for _, e := range b.got(kind) {
		ids[e.id] = true
	}
	return len(ids)
}

// deaths are nodes that share one Redis and one backend; some will die.
type deaths struct {
	*backend
	yaml  string
	redis *redistest.Server
	nodes []*sidecartest.Sidecar
}

// newDeaths starts two nodes, in a test that mostly waits.
func newDeaths(t *testing.T) *deaths {
	t.Helper()
	sidecartest.OnceWithoutRace(t)
	t.Parallel()
	d := &deaths{backend: newBackend(t, nil), redis: redistest.Start(t)}
	d.yaml = withJWT + d.hooked() + "\nredis: {addresses: ['" + d.redis.Addr + "']}\nusers: {offline_delay: 1s}\nchannels: [{match: 'c.*', presence: true}]"
	for range 2 {
		d.nodes = append(d.nodes, sidecartest.Start(t, d.yaml))
	}
	for _, n := range d.nodes {
		n.AwaitRedis(t, http.StatusOK)
	}
	return d
}

// settle waits until the backend has heard of every connection, and for as long as it takes to store
// that: what is a second old is stored.
func (d *deaths) settle(t *testing.T, connections int) {
	t.Helper()
	for _, kind := range []string{"connected", "user.online", "presence.join"} {
		testkit.Eventually(t, kind, func() bool { return d.distinct(kind) == connections })
	}
	<-time.After(1200 * time.Millisecond)
}

// ends are the events of everything that ends with a node.
var ends = []string{"disconnected", "user.offline", "presence.leave"}

// within waits until there were n events of each kind, at most until a time after something
// happened, and holds that there were no more.
func (d *deaths) within(t *testing.T, after time.Duration, since time.Time, n int, kinds ...string) {
	t.Helper()
	for _, kind := range kinds {
		for d.distinct(kind) < n && time.Since(since) < after {
			<-time.After(50 * time.Millisecond)
		}
		t.Logf("%s of %d after %v", kind, n, time.Since(since).Round(100*time.Millisecond))
		if got := d.distinct(kind); got != n {
			t.Errorf("%d ids of %s, want %d", got, kind, n)
		}
	}
}

// TestChaos_ANodeDies: the backend hears once of everything that a killed node had
// that it ended, within 15 s.
func TestChaos_ANodeDies(t *testing.T) {
	d := newDeaths(t)
	connections := 1000
	if sidecartest.Chaos() > 0 {
		connections = 5000
	}
	company(t, d.nodes[0], 10, "s")
	company(t, d.nodes[1], connections, "d")
	d.settle(t, connections+10)
	d.nodes[1].Kill()
	d.within(t, buriedIn, time.Now(), connections, ends...)
	lost := map[string]int{}
	for _, e := range d.got("disconnected") {
		lost[e.connection]++
		if e.sequence != "" || !strings.Contains(e.body, `"cause":"node_lost"`) {
			t.Fatalf("sequence %q, %s; want none, and node_lost", e.sequence, e.body)
		}
	}
	if len(lost) != connections {
		t.Errorf("%d connections were told as lost, want %d", len(lost), connections)
	}
	if n := d.distinct("channel.vacated"); n != 0 {
		t.Errorf("vacated was told %d times, though somebody is there", n)
	}
}

// TestChaos_AStoppedNodeIsBuriedAndNoticesIt: it closes its connections with 1012 and tells
// nothing twice.
func TestChaos_AStoppedNodeIsBuriedAndNoticesIt(t *testing.T) {
	d := newDeaths(t)
	stopped := min(chaosTime(14*time.Second), 30*time.Second)
	const connections = 100
	stops := d.nodes[1]
	company(t, d.nodes[0], 1, "s")
	closed := company(t, stops, connections, "d")
	d.settle(t, connections+1)
	stops.Pause()
	began := time.Now()
	d.within(t, buriedIn, began, connections, "disconnected")
	<-time.After(max(0, stopped-time.Since(began)))
	stops.Resume()
	for range connections {
		select {
		case err := <-closed:
			if !websocket.IsCloseError(err, 1012) {
				t.Errorf("got %v, want 1012", err)
			}
		case <-time.After(15 * time.Second):
			t.Fatal("a connection is still open")
		}
	}
	// It is a node like others again.
	c := dial(t, stops, bearer(token("new", "c.1")))
	testkit.Eventually(t, "a new connection is told", func() bool { return d.distinct("connected") == connections+2 })
	_ = c.Close()
	d.within(t, buriedIn, time.Now(), connections+1, ends...)
}

// TestChaos_NobodyIsBuriedWhileRedisIsPaused: nor right after.
func TestChaos_NobodyIsBuriedWhileRedisIsPaused(t *testing.T) {
	d := newDeaths(t)
	for i, n := range d.nodes {
		company(t, n, 20, fmt.Sprint("n", i))
	}
	d.settle(t, 40)
	d.redis.Pause()
	<-time.After(min(chaosTime(12*time.Second), 20*time.Second))
	d.redis.Resume()
	<-time.After(3 * time.Second)
	for _, n := range d.nodes {
		n.AwaitRedis(t, http.StatusOK)
	}
	for _, kind := range append([]string{"channel.vacated"}, ends...) {
		if got := d.got(kind); len(got) != 0 {
			t.Errorf("%d of %s, want none", len(got), kind)
		}
	}
	if got := d.distinct("user.online"); got != 40 {
		t.Errorf("%d users were told online, want 40", got)
	}
}

// TestChaos_AllNodesDieAndOneIsStartedLater: what was due is told then.
func TestChaos_AllNodesDieAndOneIsStartedLater(t *testing.T) {
	d := newDeaths(t)
	for i, n := range d.nodes {
		company(t, n, 20, fmt.Sprint("n", i))
	}
	d.settle(t, 40)
	for _, n := range d.nodes {
		n.Kill()
	}
	<-time.After(5 * time.Second) // longer than a step of Redis' time that is no pause
	sidecartest.Start(t, d.yaml)
	d.within(t, buriedIn+5*time.Second, time.Now(), 40, ends...)
	testkit.Eventually(t, "the channel is vacated", func() bool { return d.distinct("channel.vacated") == 1 })
}
