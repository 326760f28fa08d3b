package session

import (
	"log/slog"
	"math"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/descriptors"
)

func TestOccupancy_ForgetsAddressesThatHaveNothing(t *testing.T) {
	a, l := newOccupancy(nil), &config.Limits{ConnectionsPerIP: 1}
	ip := netip.MustParseAddr("2001:db8::1")
	enter := func() (limit string, counted bool) {
		if !a.enter(0) {
			t.Fatal("full")
		}
		return a.enterIP(ip, l)
	}
	if limit, counted := enter(); limit != "" || !counted {
		t.Fatalf("got %q, %v", limit, counted)
	}
	limit, counted := enter()
	if limit != "limits.connections_per_ip" || counted {
		t.Errorf("the second: got %q, %v", limit, counted)
	}
	a.release(ip, false)
	a.release(ip, true)
	if len(a.byIP) != 0 || a.count() != 0 {
		t.Errorf("%d addresses, %d connections are still known", len(a.byIP), a.count())
	}
}

// A reload that sets a limit must not take what came before it for counted.
func TestOccupancy_CountsOnlyWhatItCounted(t *testing.T) {
	a, ip := newOccupancy(nil), netip.MustParseAddr("192.0.2.1")
	a.enter(0)
	_, before := a.enterIP(ip, &config.Limits{})
	a.enter(0)
	_, after := a.enterIP(ip, &config.Limits{ConnectionsPerIP: 1})
	if before || !after {
		t.Fatalf("got %v, %v", before, after)
	}
	a.release(ip, before)
	if n := a.byIP[ip].connections; n != 1 {
		t.Errorf("%d are counted, want 1", n)
	}
}

func TestEngine_ConnectEventsThatWaitAreBounded(t *testing.T) {
	e := &Engine{}
	first, ok := e.mayAsk(maxConnecting - 2*messageCost)
	if !ok {
		t.Fatal("the first may not ask")
	}
	if _, ok := e.mayAsk(messageCost); ok {
		t.Error("one too many may ask")
	}
	second, ok := e.mayAsk(0)
	if !ok {
		t.Error("the refused one still counts")
	}
	first()
	second()
	if n := e.connecting.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

func TestBurst(t *testing.T) {
	f := func(perSecond, seconds float64, want int) {
		t.Helper()
		if got := burst(perSecond, seconds); got != want {
			t.Errorf("%v/s for %v s: got %d, want %d", perSecond, seconds, got, want)
		}
	}
	f(0.1, 2, 1)
	f(10, 2, 20)
	f(1e300, 2, math.MaxInt32)
	f(math.Inf(1), 10, math.MaxInt32)
}

func TestOccupancy_ForgetsAddressesThatAreQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, l := newOccupancy(nil), &config.Limits{ConnectRatePerIP: 2}
		for i := range byte(5) {
			ip := netip.AddrFrom4([4]byte{192, 0, 2, i})
			a.enter(0)
			_, counted := a.enterIP(ip, l)
			a.release(ip, counted)
		}
		time.Sleep(2 * time.Minute) // of the bubble
		a.enter(0)
		if a.enterIP(netip.MustParseAddr("192.0.2.9"), l); len(a.byIP) != 1 {
			t.Errorf("%d addresses are known, want only the one of now", len(a.byIP))
		}
	})
}

// What alerts compare the connections with is what handshakes are held to.
func TestEngine_LimitIsTheSmallerOfConfigurationAndDescriptors(t *testing.T) {
	f := func(name string, configured int, fds *descriptors.Budget, want int64) {
		t.Helper()
		set := func(n int) *Settings {
			s, err := NewSettings(Sections{Limits: config.Limits{Connections: n}}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		e := NewEngine(Options{Settings: set(1), Descriptors: fds, Log: slog.New(slog.DiscardHandler)})
		if e.Apply(set(configured)); e.Limit() != want {
			t.Errorf("%s: got %d, want %d", name, e.Limit(), want)
		}
	}
	f("configured", 50, nil, 50)
	f("configured, and more descriptors", 50, descriptors.NewBudget(800), 50)
	f("configured, and fewer descriptors", 5000, descriptors.NewBudget(800), 700)
	f("not configured", 0, nil, descriptors.Default())
}
