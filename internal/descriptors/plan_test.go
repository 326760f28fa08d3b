package descriptors

import (
	"runtime"
	"strings"
	"testing"
)

var everything = Needs{Webhooks: 256, Forwards: 256, Redis: true}

func TestPlan_NeverSharesOutMoreThanThereIs(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	for limit := int64(16); limit < 20_000; limit++ {
		p, err := plan(limit, 4, everything)
		if err != nil {
			if limit >= 64 {
				t.Fatalf("ulimit -n %d: %v", limit, err)
			}
			continue
		}
		used := 4 + ofProcess + 2*int64(perPoller)
		all := used + p.Clients.max.Load() + int64(p.Webhooks+p.Forwards) + forLocal + forRedis + forMoments
		if all > limit || p.Clients.enter.Load() <= 0 || p.Webhooks < minAsking || p.Forwards < minAsking {
			t.Fatalf("ulimit -n %d: %+v, clients %d: %d in all", limit, p, p.Clients.max.Load(), all)
		}
	}
}

func TestPlan_OfALargeLimitGivesAllThatWasAskedFor(t *testing.T) {
	p, err := plan(65536, 4, everything)
	if err != nil {
		t.Fatal(err)
	}
	if p.Webhooks != 256 || p.Forwards != 256 || p.Clients.enter.Load() < 65536*8/10 {
		t.Errorf("got %+v, %d connections let in", p, p.Clients.enter.Load())
	}
}

func TestPlan_ErrsWhereTheLimitIsTooSmall(t *testing.T) {
	_, err := plan(40, 4, everything)
	if err == nil || !strings.Contains(err.Error(), "ulimit -n") || !strings.Contains(err.Error(), "40") {
		t.Errorf("got %v", err)
	}
}

func TestRenew_TakesFromClientsWhatOthersNeedNow(t *testing.T) {
	p, err := plan(1024, 4, Needs{})
	if err != nil {
		t.Fatal(err)
	}
	clients := p.Clients
	before := clients.Connections()
	next, err := p.Renew(Needs{Webhooks: 64})
	if err != nil || clients.Connections() != before {
		t.Fatalf("%v, or it counted too early: %d, want %d", err, clients.Connections(), before)
	}
	next.Apply()
	if next.Clients != clients || next.Webhooks < minAsking || clients.Connections() >= before {
		t.Errorf("%d webhooks, and %d clients of %d before", next.Webhooks, clients.Connections(), before)
	}
	p.Apply()
	if clients.Connections() != before {
		t.Errorf("back to %d clients, want %d", clients.Connections(), before)
	}
	if small, err := plan(42, 4, Needs{}); err == nil {
		if _, err := small.Renew(Needs{Webhooks: 64, Forwards: 64, Redis: true}); err == nil {
			t.Error("it shared out what is not there")
		}
	}
}
