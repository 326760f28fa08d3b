package redisfailures

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// promised is how soon after Redis' return everything is resubscribed (SPEC §8).
const promised = 2 * time.Second

// room is the channel where all clients are.
const room = "room.1"

// failure is a way in which Redis breaks.
type failure struct {
	name string
	// short and long are how long it lasts in make test and in make chaos.
	short, long time.Duration
	// within is when all must be well again after it, 0: as promised.
	within time.Duration
	// lossy: Redis loses what it had.
	lossy bool
	// mayLose: what Redis confirmed at last may be lost, as a replica did not have it yet.
	mayLose bool
	// notice is when the nodes must have noticed; unnoticed: they need not.
	notice    time.Duration
	unnoticed bool
	// pausesNode: a node hangs meanwhile, and with it who calls it.
	pausesNode bool
	// crowd is how many clients leave while it lasts, and as many come; at most a tenth of
	// 500 in make test.
	crowd int
	// start's second result breaks Redis for so long. It calls r.broke and r.back.
	start starter
}

func (f failure) loses() bool { return f.lossy || f.mayLose }

// rig is two nodes with an app, clients that read, and pushes, while Redis breaks.
type rig struct {
	t       *testing.T
	failure failure
	redis   *deployment
	app     *app
	nodes   []*sidecartest.Sidecar
	watches []*watch
	pushes  *pushes
	readers []*client // on each node two, which stay
	before  traces
	threads []map[string]int // goroutines of the nodes before

	mu      sync.Mutex // guards clients
	clients []*client  // all that ever were, the readers too

	within           time.Duration // of the failure
	brokeAt          time.Time
	backFrom, backAt time.Time // when Redis was back, at the earliest and at the latest
	mended           func()    // called before what is left is looked at, if not nil
	probeID          int
}

func newRig(t *testing.T, f failure, d *deployment) *rig {
	t.Helper()
	r := &rig{t: t, failure: f, redis: d, app: newApp(t), within: cmp.Or(f.within, promised)}
	yaml := r.app.yaml() + "auth: {jwt: {secret: " + secret + "}}\nredis: {" + d.yaml + "}\n" + `
channels:
- {match: "kept.*", subscribe: anyone, history: {messages: 10000, age: 5m}}
- {match: "room.*", subscribe: anyone, presence: true}
- {match: "**", subscribe: anyone}
users: {offline_delay: 300ms}
limits: {connections_per_user: 2}
admin: {listen: "127.0.0.1:0", pprof: true}
`
	for range 2 {
		n := sidecartest.Start(t, yaml, d.wrap...)
		r.nodes = append(r.nodes, n)
		n.AwaitRedis(t, http.StatusOK)
		r.watches = append(r.watches, startWatch(t, n))
	}
	channels := []string{room}
	for i := range keptChannels {
		channels = append(channels, kept(i))
	}
	for i := range plainChannels {
		channels = append(channels, plain(i))
	}
	for i := range 4 {
		// The first two are connections of one user, who may have no third.
		r.readers = append(r.readers, r.connect(i%2, []string{"ann", "ann", "bob", "cem"}[i], channels...))
	}
	for _, c := range r.readers {
		testkit.Eventually(t, "the readers are subscribed", c.ready)
	}
	r.pushes = startPushes(t, r.nodes, !f.pausesNode)
	if !until(func() bool { return r.seatsWrong() == "" && r.presenceWrong() == "" && r.untold() == 0 }) {
		t.Fatalf("it does not work before anything broke: %s %s, %d untold", r.seatsWrong(), r.presenceWrong(), r.untold())
	}
	r.before = d.traces(t)
	for _, n := range r.nodes {
		r.threads = append(r.threads, n.Goroutines())
	}
	return r
}

// connect has a user come, who must be let in.
func (r *rig) connect(node int, user string, channels ...string) *client {
	c, err := dial(r.nodes[node], user, channels...)
	if err != nil {
		r.t.Errorf("%s: the handshake failed: %v", user, err)
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients = append(r.clients, c)
	return c
}

func (r *rig) all() []*client {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.clients)
}

// broke notes that Redis is about to break.
func (r *rig) broke() {
	r.brokeAt = time.Now()
	r.pushes.work.Go(func() { r.pushes.insist(r.t, r.nodes[0], kept(quiet)) })
}

// back mends Redis. What mends it may move backFrom, if it knows better.
func (r *rig) back(mend func()) {
	r.backFrom = time.Now()
	mend()
	r.backAt = time.Now()
}

// run causes a failure under nodes at work, and checks that all is well after it.
func (f failure) run(t *testing.T) {
	d, cause := f.start(t)
	r := newRig(t, f, d)
	lasts, crowd := f.short, min(f.crowd, 50)
	if long() {
		lasts, crowd = f.long, f.crowd
	}
	leaving := r.crowd("before", crowd)
	for _, c := range leaving {
		testkit.Eventually(t, "the crowd is subscribed", c.ready)
	}
	var moves sync.WaitGroup
	moves.Go(func() { r.move(leaving, lasts) })
	cause(r, lasts)
	out := r.recovered()
	moves.Wait()
	r.finish(&out)
	if t.Failed() {
		for i, n := range r.nodes {
			t.Logf("node %d:\n%s", i, n.LastOutput())
		}
	}
	results.add(out)
	t.Logf("\n%s\n%s", header, out)
}

// crowd has clients come, each with a user and a channel of its own, and all in the room.
func (r *rig) crowd(name string, n int) (all []*client) {
	var mu sync.Mutex
	inParallel(n, func(i int) {
		user := fmt.Sprint(name, i)
		if c := r.connect(i%2, user, room, kept(i%keptChannels), "own."+user); c != nil {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, c)
		}
	})
	return all
}

// move has clients leave while Redis is broken, others come, and a part of these leave too.
func (r *rig) move(leaving []*client, lasts time.Duration) {
	<-time.After(lasts / 4)
	inParallel(len(leaving), func(i int) { leaving[i].leave() })
	came := r.crowd("during", len(leaving))
	<-time.After(lasts / 4)
	inParallel(len(came), func(i int) {
		if i%4 == 0 {
			came[i].leave()
		}
	})
}

// until is testkit.Until for what nodes have to work for.
func until(ok func() bool) bool {
	return testkit.Until(func() bool {
		if ok() {
			return true
		}
		<-time.After(20 * time.Millisecond)
		return false
	})
}

func inParallel(n int, do func(i int)) {
	var work sync.WaitGroup
	for part := range 8 {
		work.Go(func() {
			for i := part; i < n; i += 8 {
				do(i)
			}
		})
	}
	work.Wait()
}

// recovered measures how long each promise takes to hold again.
func (r *rig) recovered() row {
	out := row{failure: r.failure.name, lasted: r.backAt.Sub(r.brokeAt)}
	var work sync.WaitGroup
	since := func(into *time.Duration, what string, wrong func() string) {
		work.Go(func() {
			if !until(func() bool { return wrong() == "" }) {
				r.t.Errorf("%s: %s", what, wrong())
			}
			*into = time.Since(r.backAt)
		})
	}
	since(&out.subscribed, "pushes arrive", r.probed())
	var heard time.Duration
	since(&heard, "the only push to a channel arrives", func() string {
		for _, c := range r.readers {
			if _, got := c.messages(kept(quiet)); len(got) == 0 || got[len(got)-1].gap {
				return "not everywhere"
			}
		}
		return ""
	})
	since(&out.seats, "seats are counted", r.seatsWrong)
	work.Wait()
	if most := late(r.within); max(out.subscribed, out.seats, heard) > most {
		r.t.Errorf("subscribed after %v, what was missed came after %v, seats counted after %v, want %v", out.subscribed, heard, out.seats, r.within)
	}
	return out
}

// probed returns a check that new pushes through each node reach all readers.
func (r *rig) probed() func() string {
	r.probeID++
	names := map[string]bool{}
	sent := time.Time{}
	return func() string {
		if time.Since(sent) > 50*time.Millisecond {
			sent = time.Now()
			for i, n := range r.nodes {
				for kind, to := range map[string]string{"channel": `"channels":["` + plain(0) + `"]`, "users": `"users":["ann","bob","cem"]`} {
					name := fmt.Sprintf("%d %d %s", r.probeID, i, kind)
					names[name] = true
					go n.API("POST", "/v1/push", fmt.Sprintf(`{"to":{%s},"data":%q}`, to, name))
				}
			}
		}
		for name := range names {
			for i, c := range r.readers {
				if !c.heard(name) {
					return fmt.Sprintf("reader %d did not hear %s", i, name)
				}
			}
		}
		return ""
	}
}

// seatsWrong says whether a third connection of a user who may have two is let in.
func (r *rig) seatsWrong() string {
	for i, n := range r.nodes {
		if c, err := dial(n, "ann"); err == nil {
			r.mu.Lock()
			r.clients = append(r.clients, c)
			r.mu.Unlock()
			until(func() bool { id, ended := c.identity(); return id != "" || ended })
			c.leave()
			return fmt.Sprintf("node %d let in a third", i)
		} else if err.Error() != "429" {
			return err.Error()
		}
	}
	return ""
}

// presenceWrong says how who is in the room differs from who is said to be there.
func (r *rig) presenceWrong() string {
	want := map[string]int{}
	for _, c := range r.all() {
		if _, ended := c.identity(); !ended && c.wants(room) {
			want[c.user]++
		}
	}
	for i, n := range r.nodes {
		got, cursor := map[string]int{}, ""
		for {
			status, answer := n.API("GET", "/v1/channels/"+room+"/presence?limit=1000"+cursor, "")
			var page struct {
				Users []struct {
					ID          string `json:"user_id"`
					Connections int
				}
				Next string
			}
			if err := json.Unmarshal([]byte(answer), &page); status != 200 || err != nil {
				return fmt.Sprintf("node %d: %d %s", i, status, answer)
			}
			for _, u := range page.Users {
				got[u.ID] = u.Connections
			}
			if page.Next == "" {
				break
			}
			cursor = "&cursor=" + page.Next
		}
		if !maps.Equal(got, want) {
			return fmt.Sprintf("node %d has %v, want %v", i, got, want)
		}
	}
	return ""
}

// untold counts what the app was not told.
func (r *rig) untold() int { missing, _ := r.app.wrong(r.all()); return len(missing) }

// finish waits until all has come to rest, and checks what is left.
func (r *rig) finish(out *row) {
	t := r.t
	settled := r.backAt.Add(late(r.within))
	for _, c := range r.all() {
		if _, ended := c.identity(); !ended {
			testkit.Eventually(t, "clients that came meanwhile are subscribed", c.ready)
		}
	}
	if !until(func() bool { return r.presenceWrong() == "" }) {
		t.Error("presence:", r.presenceWrong())
	}
	out.presence = time.Since(r.backAt)
	if !until(func() bool { return r.untold() == 0 }) {
		missing, _ := r.app.wrong(r.all())
		out.untold = len(missing)
		if !r.failure.loses() {
			t.Errorf("%d events were not told: %q", len(missing), missing[:min(len(missing), 20)])
		}
	}
	out.told = time.Since(r.backAt)
	r.rest(settled)
	r.pushes.end()
	until(func() bool { return r.pushes.owed(r) == 0 })
	out.plain, out.lost = r.pushes.missing(r.readers)
	for _, c := range r.readers {
		out.gaps += r.pushes.check(r, c)
	}
	for _, c := range r.all() {
		if err := c.broke(); err != nil {
			t.Errorf("a connection of %s ended: %v", c.user, err)
		}
	}
	if _, twice := r.app.wrong(r.all()); len(twice) > 0 {
		t.Errorf("told twice: %q", twice)
	}
	r.nothingLeft()
	out.noticed = -1
	for _, w := range r.watches {
		w.end()
		if at := w.truth(r, settled); !at.IsZero() {
			out.noticed = max(out.noticed, at.Sub(r.brokeAt))
		}
		out.up = max(out.up, w.upSince().Sub(r.backAt))
	}
}

// mayLose says whether what was confirmed on a channel may be lost.
func (r *rig) mayLose(channel string) bool {
	return r.failure.lossy || r.failure.mayLose && r.redis.loses(channel)
}

// unreplicated is how long what was confirmed may be on its way to a replica, or to disk.
const unreplicated = 2 * time.Second

// mayHaveLost says whether that may have happened to what was confirmed at a time: not
// long before Redis broke.
func (r *rig) mayHaveLost(channel string, confirmed time.Time) bool {
	return r.mayLose(channel) && confirmed.After(r.brokeAt.Add(-unreplicated)) && confirmed.Before(r.backAt)
}

// rest waits until every node said for a second that all is well; in make chaos until a
// second after it must.
func (r *rig) rest(settled time.Time) {
	if long() {
		<-time.After(time.Until(settled.Add(time.Second)))
		return
	}
	for i, w := range r.watches {
		if !until(func() bool { since := w.upSince(); return !since.IsZero() && time.Since(since) > time.Second }) {
			r.t.Errorf("node %d does not say that Redis is up", i)
		}
	}
}

// nothingLeft: when only the readers are left, so is what there was before.
func (r *rig) nothingLeft() {
	t := r.t
	others := r.all()[len(r.readers):]
	inParallel(len(others), func(i int) { others[i].leave() })
	if r.mended != nil {
		r.mended()
	}
	var differs []string
	if !until(func() bool { differs = r.before.differs(r.redis.traces(t)); return len(differs) == 0 }) {
		t.Errorf("Redis has more or less than before: %q", differs)
	}
	for i, n := range r.nodes {
		var more []string
		if !until(func() bool {
			n.HangUp()
			more = nil
			for function, count := range n.Goroutines() {
				if count > r.threads[i][function] {
					more = append(more, fmt.Sprintf("%s: %d, had %d", function, count, r.threads[i][function]))
				}
			}
			return len(more) == 0
		}) {
			t.Errorf("node %d has more goroutines than before: %q", i, more)
		}
	}
}
