package session

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
)

// leaves is why the connections of these tests end.
var leaves = &hub.Cause{Why: hub.PeerReset}

func asAnn() string { return "Authorization: Bearer " + annsToken(tokenSecret) + "\r\n" }

func withTokens(l config.Limits) func(*config.Config) {
	return func(c *config.Config) {
		c.Auth.JWT.Secret, c.Limits = tokenSecret, l
		c.Limits.ChannelsPerConnection = 8
	}
}

func refusedWith(t *testing.T, e *Engine, headers string, status int) {
	t.Helper()
	a, r := e.Admit(t.Context(), handshakeWith(t, headers))
	if r == nil {
		a.Cancel()
		t.Errorf("let in, want %d", status)
	} else if r.Status != status {
		t.Errorf("got %d %s, want %d", r.Status, r.Body, status)
	}
}

// Who turns a limit on means it: those who are there already count, and stay.
func TestApply_ALimitCountsWhoIsThereAlready(t *testing.T) {
	for name, l := range map[string]config.Limits{
		"connections_per_ip": {ConnectionsPerIP: 2}, "connections_per_user": {ConnectionsPerUser: 2, PerUserPolicy: config.PolicyReject},
	} {
		t.Run(name, func(t *testing.T) {
			e := newTestEngine(t, withTokens(config.Limits{}))
			first, second := open(t, e, asAnn()), open(t, e, asAnn())
			apply(t, e, withTokens(l))
			refusedWith(t, e, asAnn(), http.StatusTooManyRequests)
			first.End(leaves)
			third := open(t, e, asAnn())
			refusedWith(t, e, asAnn(), http.StatusTooManyRequests)
			if second.ended != nil || third.ended != nil {
				t.Error("a reload ended a connection")
			}
			apply(t, e, withTokens(config.Limits{}))
			fourth := open(t, e, asAnn())
			for _, c := range []*tape{second, third, fourth} {
				c.End(leaves)
			}
			apply(t, e, withTokens(l))
			for range 2 {
				open(t, e, asAnn())
			}
			refusedWith(t, e, asAnn(), http.StatusTooManyRequests)
		})
	}
}

// A handshake that the reload overtakes was judged without the limit, and counts for it
// all the same once it is in.
func TestApply_AHandshakeUnderWayCountsForTheNewLimit(t *testing.T) {
	e := newTestEngine(t, withTokens(config.Limits{}))
	a, r := e.Admit(t.Context(), handshakeWith(t, asAnn()))
	if r != nil {
		t.Fatalf("refused: %s", r.Body)
	}
	apply(t, e, withTokens(config.Limits{ConnectionsPerIP: 1, ConnectionsPerUser: 1, PerUserPolicy: config.PolicyReject}))
	c := &tape{engine: e}
	a.Begin(&c.session, false)
	a.Keep()
	if cause := a.Join(t.Context(), c); cause != nil {
		t.Fatalf("ended for %v", cause.Why)
	}
	refusedWith(t, e, asAnn(), http.StatusTooManyRequests)
	c.End(leaves)
	d := open(t, e, asAnn())
	d.End(leaves)
	if n := len(e.occupancy.byIP); n != 0 || e.occupancy.count() != 0 {
		t.Errorf("%d addresses and %d connections are still counted", n, e.occupancy.count())
	}
}

func TestApply_TheRateOfMessagesIsThatOfNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &Engine{}
		set := func(r float64) { e.settings.Store(&Settings{limits: config.Limits{MessageRate: r}}) }
		s := &Session{}
		burstOf := func() (n int) {
			for n < 1000 && e.Throttle(s) == 0 {
				n++
			}
			return n
		}
		set(0)
		if n := burstOf(); n != 1000 || s.more.Load() != nil {
			t.Errorf("without a limit: %d at once, %v kept", n, s.more.Load())
		}
		set(10)
		if n := burstOf(); n != 20 {
			t.Errorf("10 a second: %d at once, want 20", n)
		}
		s.change(func(m *extra) { m.state = []byte(`{}`) }) // must not lose what is used up
		if d := e.Throttle(s); d <= 0 {
			t.Error("a new state gave a new burst")
		}
		set(100)
		e.Throttle(s)
		time.Sleep(time.Minute) // of the bubble
		if n := burstOf(); n != 200 {
			t.Errorf("100 a second: %d at once, want 200", n)
		}
		set(0)
		if n := burstOf(); n != 1000 {
			t.Errorf("without a limit again: %d at once", n)
		}
	})
}

func TestApply_TheRateOfAnAddressIsThatOfNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newOccupancy(nil)
		ip := handshakeWith(t, "").From.IP
		letIn := func(r float64) (n int) {
			l := &config.Limits{ConnectRatePerIP: r}
			for n < 1000 {
				if limit, counted := a.enterIP(ip, l); limit != "" {
					return n
				} else if counted {
					a.forgetLocked(ip)
				}
				n++
			}
			return n
		}
		if n := letIn(1); n != 10 {
			t.Errorf("1 a second: %d at once, want 10", n)
		}
		letIn(5)
		time.Sleep(time.Minute) // of the bubble
		if n := letIn(5); n != 50 {
			t.Errorf("5 a second: %d at once, want 50", n)
		}
		if n := letIn(0); n != 1000 {
			t.Errorf("without a limit: %d at once", n)
		}
	})
}
