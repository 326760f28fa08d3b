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
		all := used + p.Clients.max + int64(p.Webhooks+p.Forwards) + forLocal + forRedis + forMoments
		if all > limit || p.Clients.enter <= 0 || p.Webhooks < minAsking || p.Forwards < minAsking {
			t.Fatalf("ulimit -n %d: %+v, clients %d: %d in all", limit, p, p.Clients.max, all)
		}
	}
}

func TestPlan_OfALargeLimitGivesAllThatWasAskedFor(t *testing.T) {
	p, err := plan(65536, 4, everything)
	if err != nil {
		t.Fatal(err)
	}
	if p.Webhooks != 256 || p.Forwards != 256 || p.Clients.enter < 65536*8/10 {
		t.Errorf("got %+v, %d connections let in", p, p.Clients.enter)
	}
}

func TestPlan_ErrsWhereTheLimitIsTooSmall(t *testing.T) {
	_, err := plan(40, 4, everything)
	if err == nil || !strings.Contains(err.Error(), "ulimit -n") || !strings.Contains(err.Error(), "40") {
		t.Errorf("got %v", err)
	}
}
