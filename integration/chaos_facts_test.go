package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
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

// factsChaos is the truth about connections, users and channels, and what the backend is
// told of them.
type factsChaos struct {
	yaml    string
	redis   *deployment
	backend *httptest.Server
	told    factLog
	over    chan struct{} // closed: nobody comes any more

	mu    sync.Mutex   // guards all below
	nodes []*chaosNode // that take clients
	all   []*chaosNode
	lives []*life
	// away are the times when Redis did not answer.
	away []span
}

// chaosNode is a running node; broken is when it was killed or stopped.
type chaosNode struct {
	*sidecartest.Sidecar
	broken time.Time
}

// life is one connection as its client knows it.
type life struct {
	connection, user string
	channels         []string
	node             *chaosNode
	began, ended     time.Time // ended is zero while it lasts
}

type span struct {
	from, to time.Time
	on       string // which node
}

// holds says whether a moment is in the span, and not within a margin of its ends.
func (s span) holds(t time.Time, margin time.Duration) bool {
	return t.After(s.from.Add(margin)) && t.Before(s.to.Add(-margin))
}

// factLog is what the backend got, in the order in which it came for the first time.
type factLog struct {
	mu    sync.Mutex // guards all below
	by    map[string]*toldFact
	order []*toldFact
	taken int
}

// toldFact is one event.
type toldFact struct {
	kind, id, key string
	up            bool // it began: connected, online, occupied, join
	generation    uint64
	at            time.Time
	cause         string
	taken         bool // the backend answered 204 at least once
}

const (
	factUsers    = 400
	factChannels = 40
	// settled is how long after something changed the world may be told something else:
	// a round of the lease, an outage of Redis and a retry.
	factsMargin = 3 * time.Second
)

// TestChaos_NobodyIsForgotten: clients come and go on three nodes, of which some are
// killed and some stopped until they are buried and then let go on, while Redis restarts
// and is paused, and a backend fails at random. Every connection, user and channel is told
// as it was: nothing is missing, nothing doubled, nothing out of order, and no ghost
// stays.
func TestChaos_NobodyIsForgotten(t *testing.T) {
	sidecartest.OnceWithoutRace(t)
	t.Parallel() // it mostly waits
	nobodyIsForgotten(t, newStandalone(t), 0, 24*time.Second)
}

// TestChaos_NobodyIsForgottenOverACluster: the same while primaries die and hang, and
// their replicas take over.
func TestChaos_NobodyIsForgottenOverACluster(t *testing.T) {
	sidecartest.OnceWithoutRace(t)
	t.Parallel() // it mostly waits
	nobodyIsForgotten(t, newCluster(t), 1, 16*time.Second)
}

// TestChaos_NobodyIsForgottenOverSentinel: the same while the master dies and hangs, and
// its replica takes over.
func TestChaos_NobodyIsForgottenOverSentinel(t *testing.T) {
	sidecartest.OnceWithoutRace(t)
	t.Parallel() // it mostly waits
	nobodyIsForgotten(t, newSentinel(t), 1, 16*time.Second)
}

// nobodyIsForgotten begins with one of the turns of disturb. Its short form is short.
func nobodyIsForgotten(t *testing.T, redis *deployment, turn int, short time.Duration) {
	clients := 200
	took := chaosTime(short)
	if took > 30*time.Second {
		clients = 2000
	}
	c := newFactsChaos(t, redis)
	var working sync.WaitGroup
	for i := range clients {
		working.Go(func() { c.client(i) })
	}
	c.disturb(t, turn, time.Now().Add(took))
	close(c.over)
	working.Wait()
	ended := time.Now()
	c.awaitEnd(t)
	t.Logf("%d clients, %d connections, %d events; all told %v after the last one left", clients, len(c.lives), len(c.told.by), time.Since(ended).Round(time.Second))
	c.checkConnections(t)
	c.checkFacts(t)
	c.checkGhosts(t)
	if t.Failed() {
		for _, n := range c.all {
			t.Logf("node %s, replaced at %v:\n%s", n.Public, stamp(n.broken), n.LastOutput())
		}
	}
}

func newFactsChaos(t *testing.T, redis *deployment) *factsChaos {
	t.Helper()
	c := &factsChaos{redis: redis, over: make(chan struct{}), told: factLog{by: map[string]*toldFact{}}}
	c.backend = httptest.NewServer(http.HandlerFunc(c.told.serve))
	t.Cleanup(c.backend.Close)
	c.yaml = withJWT + "\nbackend: {url: '" + c.backend.URL + "'}\nredis: {" + c.redis.yaml + "}" +
		"\nwebhook: {url: '" + c.backend.URL + "/hooks/push', events: [connected, disconnected, user.online, user.offline, channel.occupied, channel.vacated, presence.join, presence.leave]," +
		" secrets: [" + whsec + "], timeout: 2s, retry: {min: 50ms, max: 1s}}" +
		"\nusers: {offline_delay: 1s}\nchannels: [{match: 'c.*', presence: true}]\nshutdown: {drain: 1s}"
	for range 3 {
		c.nodes = append(c.nodes, &chaosNode{Sidecar: sidecartest.Start(t, c.yaml)})
	}
	c.all = slices.Clone(c.nodes)
	for _, n := range c.nodes {
		n.AwaitRedis(t, http.StatusOK)
	}
	return c
}

// serve is the backend: one in five requests fails in one way or another.
func (l *factLog) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f := readFact(r.Header, body)
	l.mu.Lock()
	known := l.by[f.id]
	if known == nil {
		known = f
		l.by[f.id] = f
		l.order = append(l.order, f)
	}
	l.mu.Unlock()
	switch rand.IntN(15) {
	case 0:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case 1:
		panic(http.ErrAbortHandler) // no answer
	case 2:
		<-time.After(100 * time.Millisecond)
	}
	l.mu.Lock()
	if !known.taken {
		known.taken = true
		l.taken++
	}
	l.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func readFact(h http.Header, body []byte) *toldFact {
	f := &toldFact{kind: strings.TrimPrefix(h.Get("ce-type"), "pushcart."), id: h.Get("ce-id")}
	f.at, _ = time.Parse(time.RFC3339Nano, h.Get("ce-time"))
	f.generation, _ = strconv.ParseUint(h.Get("ce-sequence"), 10, 64)
	var said struct {
		Channel string `json:"channel"`
		UserID  string `json:"user_id"`
		Cause   string `json:"cause"`
	}
	_ = json.Unmarshal(body, &said)
	f.cause = said.Cause
	switch f.kind {
	case "connected", "disconnected":
		f.key = "connection " + h.Get("ce-connectionid")
		f.up = f.kind == "connected"
	case "user.online", "user.offline":
		f.key = "user " + h.Get("ce-userid")
		f.up = f.kind == "user.online"
	case "channel.occupied", "channel.vacated":
		f.key = "channel " + said.Channel
		f.up = f.kind == "channel.occupied"
	case "presence.join", "presence.leave":
		f.key = "member " + said.Channel + " " + said.UserID
		f.up = f.kind == "presence.join"
	}
	return f
}

// client connects, stays for a while and leaves, in one way or another, again and again.
func (c *factsChaos) client(i int) {
	user := fmt.Sprint("u", i%factUsers)
	channels := []string{fmt.Sprint("c.", i%factChannels), fmt.Sprint("c.", (i*7+3)%factChannels)}
	if channels[1] == channels[0] {
		channels = channels[:1]
	}
	bearer := bearer(token(user, channels...))
	for {
		c.one(user, channels, bearer)
		select {
		case <-c.over:
			return
		case <-time.After(rand.N(3 * time.Second)):
		}
	}
}

// one is one connection.
func (c *factsChaos) one(user string, channels []string, bearer http.Header) {
	c.mu.Lock()
	n := c.nodes[rand.IntN(len(c.nodes))]
	c.mu.Unlock()
	d := *jsonDialer
	var raw net.Conn
	d.NetDial = func(network, addr string) (_ net.Conn, err error) {
		raw, err = net.DialTimeout(network, addr, time.Second)
		return raw, err
	}
	d.HandshakeTimeout = 3 * time.Second
	conn, _, err := d.Dial("ws://"+n.Public+"/_push", bearer)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	var hello welcome
	if err := conn.ReadJSON(&hello); err != nil {
		return
	}
	l := &life{connection: hello.ConnectionID, user: user, channels: channels, node: n, began: time.Now()}
	c.mu.Lock()
	c.lives = append(c.lives, l)
	c.mu.Unlock()
	_ = conn.SetReadDeadline(time.Now().Add(rand.N(4 * time.Second)))
	for {
		if _, _, err = conn.ReadMessage(); err != nil {
			break
		}
	}
	c.mu.Lock()
	l.ended = time.Now()
	c.mu.Unlock()
	switch rand.IntN(3) {
	case 0: // says goodbye
		_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
	case 1: // is torn away
		if tcp, ok := raw.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
}

// disturb kills, stops and restarts until the end.
func (c *factsChaos) disturb(t *testing.T, turn int, end time.Time) {
	tick := time.NewTicker(4 * time.Second)
	defer tick.Stop()
	var frozen atomic.Int64
	var thawing sync.WaitGroup
	for ; time.Now().Before(end); turn++ {
		<-tick.C
		switch turn % 5 {
		case 0: // one dies, and another is stopped until it was buried
			c.replace(t, 0, true)
			n := c.replace(t, 1, false)
			frozen.Add(1)
			n.Pause()
			thawing.Go(func() {
				<-time.After(15 * time.Second)
				n.Resume()
			})
		case 2:
			c.without(c.redis.restart)
		case 3: // Redis is paused for longer than a beat, and at last for longer than a lease
			pause := 4 * time.Second
			if turn > 5 {
				pause = 14 * time.Second
			}
			c.without(func() { c.redis.hang(pause) })
		case 4:
			c.replace(t, rand.IntN(3), true)
		}
	}
	thawing.Wait()
}

// without notes that Redis is away while do runs.
func (c *factsChaos) without(do func()) {
	from := time.Now()
	do()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = append(c.away, span{from: from, to: time.Now()})
}

// replace takes a node out of use, and kills it if it is meant to die; another takes its
// place.
func (c *factsChaos) replace(t *testing.T, i int, dies bool) *chaosNode {
	next := &chaosNode{Sidecar: sidecartest.Start(t, c.yaml)}
	c.mu.Lock()
	old := c.nodes[i]
	old.broken = time.Now()
	c.nodes[i], c.all = next, append(c.all, next)
	c.mu.Unlock()
	if dies {
		old.Kill()
	}
	return old
}

// awaitEnd waits until everything that began was told to have ended.
func (c *factsChaos) awaitEnd(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	open := func() (left []string) {
		state := map[string]bool{}
		c.told.mu.Lock()
		defer c.told.mu.Unlock()
		last := map[string]uint64{}
		for _, f := range c.told.order {
			if !f.taken {
				left = append(left, f.key+" not taken")
			}
			if strings.HasPrefix(f.key, "connection ") {
				if !f.up || !state[f.key+" ended"] {
					state[f.key] = f.up
				}
				state[f.key+" ended"] = state[f.key+" ended"] || !f.up
				continue
			}
			if f.generation >= last[f.key] {
				last[f.key], state[f.key] = f.generation, f.up
			}
		}
		for key, up := range state {
			if up && !strings.HasSuffix(key, " ended") {
				left = append(left, key)
			}
		}
		return left
	}
	var left []string
	unknown := map[string]bool{}
	for _, l := range c.lives {
		if c.unknown(l) {
			unknown["connection "+l.connection], unknown["connection "+l.connection+" not taken"] = true, true
		}
	}
	for time.Now().Before(deadline) {
		left = slices.DeleteFunc(open(), func(key string) bool { return unknown[key] })
		if len(left) == 0 {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	slices.Sort(left)
	t.Errorf("%d not told to have ended: %q", len(left), left[:min(len(left), 20)])
}

// sudden is how soon after it began a connection's node may die without a trace of it: its
// record was on its way to Redis. Then it is not told at all.
const sudden = 250 * time.Millisecond

// declared is how soon after Redis is back a node must have noticed, and have declared what
// came meanwhile (SPEC §8).
const declared = 2 * time.Second

// unknown says whether nobody but its node knew of a connection: it came while Redis was
// away, so it was reported from memory, and its node died before Redis was back, or just after.
func (c *factsChaos) unknown(l *life) bool {
	broken := l.node.broken
	return !broken.IsZero() && slices.ContainsFunc(c.away, func(s span) bool {
		broke := span{from: s.from, to: s.to.Add(declared)}
		return broke.holds(broken, 0) && l.began.After(s.from.Add(-sudden))
	})
}

// checkConnections: each connection that a client knows is told once as begun and once as
// ended, under one id each.
func (c *factsChaos) checkConnections(t *testing.T) {
	t.Helper()
	begun, ended := map[string]int{}, map[string]int{}
	causes := map[string]int{}
	for _, f := range c.told.order {
		id, is := strings.CutPrefix(f.key, "connection ")
		switch {
		case !is:
		case f.up:
			begun[id]++
			if ended[id] > 0 {
				t.Errorf("connection %s: connected came for the first time after disconnected", id)
			}
		default:
			ended[id]++
			causes[f.cause]++
		}
	}
	t.Logf("ends of connections by cause: %v", causes)
	missing, unknown := 0, map[string]bool{}
	for _, l := range c.lives {
		if c.unknown(l) && begun[l.connection] <= 1 && ended[l.connection] == 0 {
			unknown[l.connection] = true
			continue
		}
		if begun[l.connection]+ended[l.connection] == 0 && !l.node.broken.IsZero() && l.node.broken.Sub(l.began) < sudden {
			continue
		}
		if begun[l.connection] != 1 || ended[l.connection] != 1 {
			if missing++; missing <= 10 {
				t.Errorf("connection %s (%v to %v, node broken %v) was told %d times as connected, %d times as disconnected", l.connection,
					l.began.Format(time.StampMilli), l.ended.Format(time.StampMilli), l.node.broken.Format(time.StampMilli), begun[l.connection], ended[l.connection])
			}
		}
	}
	if missing > 10 {
		t.Errorf("… and %d more", missing-10)
	}
	t.Logf("%d connections came while Redis was away, and their node died with it", len(unknown))
	for id, n := range begun {
		if (n > 1 || ended[id] != n) && !unknown[id] {
			t.Errorf("connection %s: told %d times as connected, %d times as disconnected", id, n, ended[id])
		}
	}
}

// checkFacts: the facts of each user, channel and member alternate, come in order, and
// agree with the connections that there were.
func (c *factsChaos) checkFacts(t *testing.T) {
	t.Helper()
	byKey := map[string][]*toldFact{}
	for _, f := range c.told.order {
		if strings.HasPrefix(f.key, "connection ") {
			continue
		}
		if all := byKey[f.key]; len(all) > 0 && f.generation <= all[len(all)-1].generation {
			t.Errorf("%s: generation %d came first after %d", f.key, f.generation, all[len(all)-1].generation)
		}
		byKey[f.key] = append(byKey[f.key], f)
	}
	truth := map[string][]span{}
	for _, l := range c.lives {
		s := span{l.began, l.ended, l.node.Public}
		if b := l.node.broken; !b.IsZero() && b.Before(s.to) {
			s.to = b
		}
		truth["user "+l.user] = append(truth["user "+l.user], s)
		for _, ch := range l.channels {
			truth["channel "+ch] = append(truth["channel "+ch], s)
			truth["member "+ch+" "+l.user] = append(truth["member "+ch+" "+l.user], s)
		}
	}
	checked := 0
	for key, all := range byKey {
		slices.SortFunc(all, func(a, b *toldFact) int { return int(a.generation) - int(b.generation) })
		for i, f := range all {
			if f.up != (i%2 == 0) {
				t.Errorf("%s: fact %d of %d is %s of %v", key, i, len(all), f.kind, f.at.Format(time.StampMilli))
				break
			}
		}
		checked += c.agrees(t, key, all, truth[key])
	}
	for key := range truth {
		if byKey[key] == nil {
			checked += c.agrees(t, key, nil, truth[key])
		}
	}
	t.Logf("%d keys, %d moments compared", len(byKey), checked)
}

// agrees compares what is told of a key with the connections that it had.
func (c *factsChaos) agrees(t *testing.T, key string, all []*toldFact, truth []span) (checked int) {
	t.Helper()
	up := func(at time.Time) (is bool) {
		for _, f := range all {
			if f.at.After(at) {
				break
			}
			is = f.up
		}
		return is
	}
	for _, s := range truth {
		middle := s.from.Add(s.to.Sub(s.from) / 2)
		if !s.holds(middle, factsMargin/2) || c.isAway(middle) {
			continue
		}
		if checked++; !up(middle) {
			t.Errorf("%s: nobody at %v, though somebody was there from %v to %v on %s; told %s; Redis was away %v", key, stamp(middle), stamp(s.from), stamp(s.to), s.on, about(all), c.away)
			return checked
		}
	}
	return checked
}

func stamp(t time.Time) string { return t.Local().Format("05.000") }

func (s span) String() string { return stamp(s.from) + "-" + stamp(s.to) }

// about are facts, for the report of a failed test.
func about(all []*toldFact) string {
	var b strings.Builder
	for _, f := range all {
		fmt.Fprintf(&b, "%s %s, ", stamp(f.at), f.kind)
	}
	return b.String()
}

// isAway says whether Redis was away a moment ago, or is.
func (c *factsChaos) isAway(at time.Time) bool {
	return slices.ContainsFunc(c.away, func(s span) bool {
		return span{from: s.from.Add(-factsMargin), to: s.to.Add(factsMargin)}.holds(at, 0)
	})
}

// checkGhosts: nobody is shown as present.
func (c *factsChaos) checkGhosts(t *testing.T) {
	t.Helper()
	n := c.nodes[0].Sidecar
	for i := range factChannels {
		status, body := n.API("GET", fmt.Sprintf("/v1/channels/c.%d/presence", i), "")
		var page struct {
			Total *int              `json:"total"`
			Users []json.RawMessage `json:"users"`
		}
		if err := json.Unmarshal([]byte(body), &page); status != http.StatusOK || err != nil || page.Total == nil || *page.Total != 0 || len(page.Users) != 0 {
			t.Errorf("presence of c.%d: %d %s, want nobody", i, status, body)
		}
	}
	status, body := n.API("GET", "/v1/outbox?state=dead", "")
	if status != http.StatusOK || strings.Contains(body, `"id"`) {
		t.Errorf("dead letters: %d %s", status, body)
	}
	testkit.Eventually(t, "nothing waits", func() bool {
		_, body := n.API("GET", "/v1/outbox?state=waiting", "")
		return !strings.Contains(body, `"id"`)
	})
}
