package session

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/webhook"
)

// ledger is a broker of several nodes as the engine sees it: it writes down what is
// declared and settled.
type ledger struct {
	broker.Roster
	broker.Outbox
	watch broker.RosterWatcher

	mu      sync.Mutex // guards all below
	lines   []string
	records map[string][]byte
	settled []string
	hold    bool // it has not stored anything yet
	stored  []func(bool)
	full    bool // nothing is handed over to it
	handed  []string
}

// store says what becomes of all that was declared while hold was set.
func (l *ledger) store(stored bool) {
	l.mu.Lock()
	all := l.stored
	l.stored, l.hold = nil, false
	l.mu.Unlock()
	for _, f := range all {
		f(stored)
	}
}

func (l *ledger) HandOver(connection string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if delete(l.records, connection); l.full {
		return false
	}
	l.handed = append(l.handed, connection)
	return true
}

func (l *ledger) WatchRoster(w broker.RosterWatcher) { l.watch = w }

func (l *ledger) Declare(changes ...broker.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range changes {
		line := map[broker.ChangeKind]string{
			broker.ConnectionHere: "here", broker.ConnectionEnded: "ended", broker.ConnectionGone: "gone",
		}[c.Kind]
		delete(l.records, c.Name)
		if c.Kind != broker.ConnectionGone {
			l.records[c.Name] = c.Record
			r, err := webhook.ParseRecord(c.Record)
			if err != nil {
				line += " " + err.Error()
			}
			for _, ev := range r.Events {
				line += " " + ev.Name + string(ev.State)
			}
		}
		l.lines = append(l.lines, line)
		switch {
		case c.Stored == nil:
		case l.hold:
			l.stored = append(l.stored, c.Stored)
		default:
			c.Stored(true)
		}
	}
}

func (l *ledger) Settle(entry string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled = append(l.settled, entry)
}

// declared are the lines that came, which it waits for.
func (l *ledger) wants(t *testing.T, want ...string) {
	t.Helper()
	lines := func() []string {
		l.mu.Lock()
		defer l.mu.Unlock()
		return slices.Clone(l.lines)
	}
	testkit.Until(func() bool { return len(lines()) >= len(want) })
	if got := lines(); !slices.Equal(got, want) {
		t.Errorf("declared:\ngot  %q\nwant %q", got, want)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = nil
}

func (l *ledger) wantsSettled(t *testing.T, want ...string) {
	t.Helper()
	settled := func() []string {
		l.mu.Lock()
		defer l.mu.Unlock()
		return slices.Clone(l.settled)
	}
	testkit.Until(func() bool { return len(settled()) >= len(want) })
	if got := settled(); !slices.Equal(got, want) {
		t.Errorf("settled: got %q, want %q", got, want)
	}
}

// told is an app that writes down what it is told.
type told struct {
	mu     sync.Mutex // guards all below
	events []string
	answer int
}

func (a *told) serve(w http.ResponseWriter, r *http.Request) {
	var body strings.Builder
	_, _ = fmt.Fprint(&body, strings.TrimPrefix(r.Header.Get("ce-type"), "pushcart."))
	a.mu.Lock()
	defer a.mu.Unlock()
	var data map[string]any
	_ = json.NewDecoder(r.Body).Decode(&data)
	delete(data, "connection_id")
	if d, ok := data["duration_ms"].(float64); ok && d < 60_000 {
		delete(data, "duration_ms")
	}
	text, _ := json.Marshal(data)
	a.events = append(a.events, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", &body, r.Header.Get("ce-userid"), strings.TrimLeft(r.Header.Get("ce-sequence"), "0"), text)))
	w.WriteHeader(a.answer)
}

func (a *told) wants(t *testing.T, want ...string) {
	t.Helper()
	events := func() []string {
		a.mu.Lock()
		defer a.mu.Unlock()
		return slices.Clone(a.events)
	}
	testkit.Until(func() bool { return len(events()) >= len(want) })
	if got := events(); !slices.Equal(got, want) {
		t.Errorf("told:\ngot  %q\nwant %q", got, want)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = nil
}

func (a *told) answers(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = status
}

// newShared is an engine of one node of several.
func newShared(t *testing.T, events ...string) (*Engine, *ledger, *told) {
	t.Helper()
	return newSharedWith(t, func(*config.Config) {}, events...)
}

func newSharedWith(t *testing.T, change func(*config.Config), events ...string) (*Engine, *ledger, *told) {
	t.Helper()
	app := &told{answer: http.StatusNoContent}
	server := httptest.NewServer(http.HandlerFunc(app.serve))
	l := &ledger{records: map[string][]byte{}}
	e := newTestEngineWith(t, func(c *config.Config) {
		c.Auth.Anonymous, c.Auth.JWT.Secret = true, tokenSecret
		c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned = server.URL, events, true
		c.Webhook.Retry = config.Retry{Min: time.Millisecond, Max: time.Millisecond, GiveUpAfter: time.Minute}
		change(c)
	}, func(o *Options) { o.Roster, o.Outbox, o.Shared = l, l, true })
	t.Cleanup(server.Close)
	return e, l, app
}

func closedBy(c *tape) { c.End(&hub.Cause{Why: hub.PeerClosed, Code: 1000}) }

func TestRoster_NothingIsDeclaredWhereNothingIsTold(t *testing.T) {
	e, l, _ := newShared(t, "message", "user.online")
	c := open(t, e, "")
	e.SetState(&c.session, json.RawMessage(`1`))
	closedBy(c)
	l.wants(t)
}

func TestRoster_AConnectionIsDeclaredUntilItsEndIsTold(t *testing.T) {
	e, l, app := newShared(t, "disconnected")
	c := open(t, e, "")
	l.wants(t, "here disconnected")
	e.SetState(&c.session, json.RawMessage(`1`))
	e.SetState(&c.session, json.RawMessage(`2`))
	l.wants(t, "here disconnected2")
	app.answers(http.StatusServiceUnavailable)
	e.SetState(&c.session, json.RawMessage(`3`))
	closedBy(c)
	l.wants(t, "ended disconnected3")
	e.SetState(&c.session, json.RawMessage(`4`)) // an answer that comes late
	app.answers(http.StatusNoContent)
	l.wants(t, "gone")
	if len(l.records) > 0 {
		t.Errorf("%d records are left", len(l.records))
	}
}

func TestRoster_ConnectedIsDeclaredUntilItIsTold(t *testing.T) {
	e, l, app := newShared(t, "connected", "disconnected")
	app.answers(http.StatusServiceUnavailable)
	open(t, e, "")
	l.wants(t, "here connected disconnected")
	app.answers(http.StatusNoContent)
	l.wants(t, "here disconnected")

	app.answers(http.StatusServiceUnavailable)
	c := open(t, e, "")
	closedBy(c)
	l.wants(t, "here connected disconnected", "ended connected disconnected")
	app.answers(http.StatusNoContent)
	l.wants(t, "gone")
}

func TestRoster_OfConnectedAloneNothingIsLeft(t *testing.T) {
	e, l, app := newShared(t, "connected")
	stays := open(t, e, "")
	l.wants(t, "here connected", "gone")
	app.answers(http.StatusServiceUnavailable)
	closedBy(open(t, e, ""))
	l.wants(t, "here connected", "ended connected")
	app.answers(http.StatusNoContent)
	l.wants(t, "gone")
	closedBy(stays)
	l.wants(t, "gone")
}

func TestRoster_AReloadDeclaresAndTakesBack(t *testing.T) {
	e, l, _ := newShared(t, "message")
	one := open(t, e, "")
	open(t, e, "")
	set := *e.settings.Load()
	set.tells.disconnected = true
	e.Apply(&set)
	l.wants(t, "here disconnected", "here disconnected")
	set.tells.disconnected = false
	e.Apply(&set)
	l.wants(t, "gone", "gone")
	closedBy(one)
	l.wants(t, "gone")
}

func TestFacts_AreToldAndSettled(t *testing.T) {
	_, l, app := newShared(t, "user.online", "channel.vacated", "presence.join")
	at := time.Now()
	for _, f := range []broker.Fact{
		{Entry: "1", Kind: broker.UserOnline, Name: "ann", Generation: 7, At: at},
		{Entry: "2", Kind: broker.UserOffline, Name: "ann", Generation: 8, At: at},
		{Entry: "3", Kind: broker.ChannelVacated, Name: "news", Generation: 9, At: at},
		{Entry: "4", Kind: broker.MemberJoined, Name: "chat", User: "bob", Generation: 10, At: at},
	} {
		l.watch.Tell(f)
		if f.Entry != "2" { // which is not wanted
			app.wants(t, map[string]string{
				"1": `user.online ann 7 {"generation":7}`, "3": `channel.vacated  9 {"channel":"news","generation":9}`,
				"4": `presence.join bob 10 {"channel":"chat","user_id":"bob"}`,
			}[f.Entry])
		}
		testkit.Until(func() bool { l.mu.Lock(); defer l.mu.Unlock(); return slices.Contains(l.settled, f.Entry) })
	}
	l.wantsSettled(t, "1", "2", "3", "4")
}

// TestFacts_OfAConnectionWhoseNodeDied has one node tell what another one declared.
func TestFacts_OfAConnectionWhoseNodeDied(t *testing.T) {
	dead, left, silent := newShared(t, "connected", "disconnected")
	silent.answers(http.StatusServiceUnavailable)
	c := open(t, dead, asAnn())
	record := func() []byte { left.mu.Lock(); defer left.mu.Unlock(); return left.records[c.Member().ID()] }
	live := record()
	closedBy(c)
	ended := record()
	silent.answers(http.StatusNoContent)

	_, l, app := newShared(t, "connected", "disconnected")
	at := c.Member().Since().Add(90 * time.Second)
	l.watch.Tell(broker.Fact{Entry: "1", Kind: broker.ConnectionLost, Name: c.Member().ID(), At: at, Record: live})
	app.wants(t, "connected ann 2 {}", `disconnected ann  {"cause":"node_lost","code":1006,"duration_ms":90000,"reason":"node lost"}`)
	l.watch.Tell(broker.Fact{Entry: "2", Kind: broker.ConnectionToTell, Name: c.Member().ID(), At: at, Record: ended})
	app.wants(t, "connected ann 2 {}", `disconnected ann 3 {"cause":"client","code":7003,"reason":"so it is"}`)
	l.wantsSettled(t, "1", "2")
	l.watch.Tell(broker.Fact{Entry: "3", Kind: broker.ConnectionLost, Name: "x", At: at, Record: []byte("nonsense")})
	l.wantsSettled(t, "1", "2", "3")
}

func TestFacts_WithdrawnAreNotSettled(t *testing.T) {
	_, l, app := newShared(t, "user.online")
	app.answers(http.StatusServiceUnavailable)
	for i := range 3 {
		l.watch.Tell(broker.Fact{Entry: fmt.Sprint(i), Kind: broker.UserOnline, Name: fmt.Sprint("user", i), Generation: 1, At: time.Now()})
	}
	l.watch.Withdraw(func(entry string) bool { return entry != "1" })
	testkit.Eventually(t, "only the other one is tried again", func() bool {
		app.mu.Lock()
		defer app.mu.Unlock()
		n := len(app.events)
		return n > 10 && !slices.ContainsFunc(app.events[n-10:], func(ev string) bool { return !strings.Contains(ev, "user1") })
	})
	app.answers(http.StatusNoContent)
	l.wantsSettled(t, "1")
}

func TestBuried_EndsAllAndTellsNothing(t *testing.T) {
	e, l, app := newShared(t, "connected", "disconnected")
	app.answers(http.StatusServiceUnavailable)
	waits, stays := open(t, e, ""), open(t, e, "")
	closedBy(waits)
	l.wants(t, "here connected disconnected", "here connected disconnected", "ended connected disconnected")
	l.watch.Buried()
	ended := func() *hub.Cause { stays.mu.Lock(); defer stays.mu.Unlock(); return stays.ended }
	testkit.Eventually(t, "it is ended", func() bool { return ended() != nil })
	if why := ended().Why; why != hub.Buried || why.Label() != "node_lost" {
		t.Errorf("ended by %v (%s)", why, why.Label())
	}
	testkit.Eventually(t, "it is forgotten", func() bool {
		e.roster.mu.Lock()
		defer e.roster.mu.Unlock()
		return len(e.roster.disowned) == 0
	})
	app.answers(http.StatusNoContent)
	l.wants(t, "gone", "gone") // whatever was declared of them since
	c := open(t, e, "")        // who comes since is as ever
	l.wants(t, "here connected disconnected", "here disconnected")
	closedBy(c)
	l.wants(t, "ended disconnected", "gone")
	app.mu.Lock()
	defer app.mu.Unlock()
	ends := slices.DeleteFunc(app.events, func(ev string) bool { return !strings.HasPrefix(ev, "disconnected") })
	if want := []string{`disconnected  3 {"cause":"client","code":7003,"reason":"so it is"}`}; !slices.Equal(ends, want) {
		t.Errorf("told %q, want %q", ends, want)
	}
}

// TestRoster_IsNotForANodeThatIsAlone: nobody else could tell.
func TestRoster_IsNotForANodeThatIsAlone(t *testing.T) {
	l := &ledger{records: map[string][]byte{}}
	e := newTestEngineWith(t, func(c *config.Config) {
		c.Auth.Anonymous = true
		c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned = "http://127.0.0.1:1", []string{"disconnected"}, true
	}, func(o *Options) { o.Roster, o.Outbox = l, l })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	closedBy(open(t, e, ""))
	_ = e.hooks.Close(ctx)
	l.wants(t)
}
