package integration

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/testkit"
)

// buriedIn is how long after a node's death everything that ended with it is told (SPEC §5
// Safety), with what a slow test machine takes.
const buriedIn = 15*time.Second + 5*time.Second

const dialsAtOnce = 8

// company opens connections to a node, each of a user of its own who is in the channel
// c.1, and returns how each ends.
func company(t *testing.T, s *sidecar, n int, user string) (ends chan error) {
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

func deathYAML(b *backend, redis *redisServer) string {
	return withJWT + b.hooked() + "\nredis: {addresses: ['" + redis.addr + "']}\nusers: {offline_delay: 1s}\nchannels: [{match: 'c.*', presence: true}]"
}

// TestChaos_ANodeDies: of everything that a killed node had, the backend is told once
// that it ended, within 15 s.
func TestChaos_ANodeDies(t *testing.T) {
	onceInTests(t)
	t.Parallel() // it mostly waits
	connections := 1000
	if chaosTime(t, 0) > 0 {
		connections = 5000
	}
	redis := startRedis(t)
	b := newBackend(t, nil)
	yaml := deathYAML(b, redis)
	stays, dies := start(t, yaml), start(t, yaml)
	stays.awaitRedis(t, http.StatusOK)
	dies.awaitRedis(t, http.StatusOK)
	company(t, stays, 10, "s")
	company(t, dies, connections, "d")
	for _, kind := range []string{"connected", "user.online", "presence.join"} {
		testkit.Eventually(t, kind, func() bool { return b.distinct(kind) == connections+10 })
	}
	<-time.After(1200 * time.Millisecond) // what is a second old is stored
	_ = dies.cmd.Process.Kill()
	<-dies.exited
	dies.code = 0 // it was meant to die
	killed := time.Now()
	for _, kind := range []string{"disconnected", "user.offline", "presence.leave"} {
		for b.distinct(kind) < connections && time.Since(killed) < buriedIn {
			<-time.After(50 * time.Millisecond)
		}
		t.Logf("%s of %d after %v", kind, connections, time.Since(killed).Round(100*time.Millisecond))
		if got := b.distinct(kind); got != connections {
			t.Errorf("%d ids of %s, want %d", got, kind, connections)
		}
	}
	lost := map[string]int{}
	for _, e := range b.got("disconnected") {
		lost[e.connection]++
		if e.sequence != "" || !strings.Contains(e.body, `"cause":"node_lost"`) {
			t.Fatalf("sequence %q, %s; want none, and node_lost", e.sequence, e.body)
		}
	}
	if len(lost) != connections {
		t.Errorf("%d connections were told as lost, want %d", len(lost), connections)
	}
	if n := b.distinct("channel.vacated"); n != 0 {
		t.Errorf("vacated was told %d times, though somebody is there", n)
	}
}

// TestChaos_AStoppedNodeIsBuriedAndNoticesIt: it closes its connections with 1012 and tells
// nothing twice.
func TestChaos_AStoppedNodeIsBuriedAndNoticesIt(t *testing.T) {
	onceInTests(t)
	t.Parallel() // it mostly waits
	stopped := chaosTime(t, 14*time.Second)
	if stopped > 14*time.Second {
		stopped = 30 * time.Second
	}
	redis := startRedis(t)
	b := newBackend(t, nil)
	yaml := deathYAML(b, redis)
	stays, stops := start(t, yaml), start(t, yaml)
	stays.awaitRedis(t, http.StatusOK)
	stops.awaitRedis(t, http.StatusOK)
	const connections = 100
	company(t, stays, 1, "s")
	ends := company(t, stops, connections, "d")
	testkit.Eventually(t, "all are told", func() bool { return b.distinct("presence.join") == connections+1 })
	<-time.After(1200 * time.Millisecond)
	_ = stops.cmd.Process.Signal(syscall.SIGSTOP)
	began := time.Now()
	for b.distinct("disconnected") < connections && time.Since(began) < buriedIn {
		<-time.After(50 * time.Millisecond)
	}
	if got := b.distinct("disconnected"); got != connections {
		t.Errorf("%d were told as lost, want %d", got, connections)
	}
	<-time.After(max(0, stopped-time.Since(began)))
	_ = stops.cmd.Process.Signal(syscall.SIGCONT)
	for range connections {
		select {
		case err := <-ends:
			if !websocket.IsCloseError(err, 1012) {
				t.Errorf("got %v, want 1012", err)
			}
		case <-time.After(15 * time.Second):
			t.Fatal("a connection is still open")
		}
	}
	// It is a node like others again.
	c := dial(t, stops, bearer(token("new", "c.1")))
	testkit.Eventually(t, "a new connection is told", func() bool { return b.distinct("connected") == connections+2 })
	_ = c.Close()
	testkit.Eventually(t, "and its end", func() bool { return b.distinct("disconnected") == connections+1 })
	for _, kind := range []string{"disconnected", "presence.leave", "user.offline"} {
		testkit.Eventually(t, "one more "+kind, func() bool { return b.distinct(kind) >= connections+1 })
		if got := b.distinct(kind); got != connections+1 {
			t.Errorf("%d ids of %s, want %d", got, kind, connections+1)
		}
	}
}

// TestChaos_NobodyIsBuriedWhileRedisIsPaused: nor right after.
func TestChaos_NobodyIsBuriedWhileRedisIsPaused(t *testing.T) {
	onceInTests(t)
	t.Parallel() // it mostly waits
	paused := chaosTime(t, 12*time.Second)
	if paused > 12*time.Second {
		paused = 20 * time.Second
	}
	redis := startRedis(t)
	b := newBackend(t, nil)
	yaml := deathYAML(b, redis)
	nodes := []*sidecar{start(t, yaml), start(t, yaml)}
	for i, n := range nodes {
		n.awaitRedis(t, http.StatusOK)
		company(t, n, 20, fmt.Sprint("n", i))
	}
	testkit.Eventually(t, "all are told", func() bool { return b.distinct("presence.join") == 40 })
	redis.pause()
	<-time.After(paused)
	redis.resume()
	<-time.After(3 * time.Second)
	for _, n := range nodes {
		n.awaitRedis(t, http.StatusOK)
	}
	for _, kind := range []string{"disconnected", "user.offline", "presence.leave", "channel.vacated"} {
		if got := b.got(kind); len(got) != 0 {
			t.Errorf("%d of %s, want none", len(got), kind)
		}
	}
	if got := b.distinct("user.online"); got != 40 {
		t.Errorf("%d users were told online, want 40", got)
	}
}

// TestChaos_AllNodesDieAndOneIsStartedLater: what was due is told then.
func TestChaos_AllNodesDieAndOneIsStartedLater(t *testing.T) {
	onceInTests(t)
	t.Parallel() // it mostly waits
	redis := startRedis(t)
	b := newBackend(t, nil)
	yaml := deathYAML(b, redis)
	nodes := []*sidecar{start(t, yaml), start(t, yaml)}
	for i, n := range nodes {
		n.awaitRedis(t, http.StatusOK)
		company(t, n, 20, fmt.Sprint("n", i))
	}
	testkit.Eventually(t, "all are told", func() bool { return b.distinct("presence.join") == 40 })
	<-time.After(1200 * time.Millisecond)
	for _, n := range nodes {
		_ = n.cmd.Process.Kill()
		<-n.exited
		n.code = 0 // it was meant to die
	}
	<-time.After(5 * time.Second) // longer than a step of Redis' time that is no pause
	start(t, yaml)
	began := time.Now()
	for _, kind := range []string{"disconnected", "user.offline", "presence.leave"} {
		for b.distinct(kind) < 40 && time.Since(began) < buriedIn+5*time.Second {
			<-time.After(50 * time.Millisecond)
		}
		if got := b.distinct(kind); got != 40 {
			t.Errorf("%d ids of %s, want 40", got, kind)
		}
	}
	testkit.Eventually(t, "the channel is vacated", func() bool { return b.distinct("channel.vacated") == 1 })
}
