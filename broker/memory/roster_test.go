package memory_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/brokertest"
	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/internal/testkit"
)

// facts is a memory broker with what it told.
type facts struct {
	*memory.Broker
	mu   sync.Mutex
	told []broker.Fact
}

func newFacts(t *testing.T) *facts {
	t.Helper()
	m := &facts{Broker: memory.New()}
	m.WatchRoster(broker.RosterWatcher{Tell: func(f broker.Fact) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.told = append(m.told, f)
	}})
	if err := m.Start(func(broker.Message) {}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func (m *facts) all() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	last := uint64(0)
	for _, f := range m.told {
		all = append(all, fmt.Sprintf("%d:%s", f.Kind, f.Name+f.User))
		if f.Generation <= last {
			all = append(all, "generation does not grow")
		}
		last = f.Generation
	}
	return strings.Join(all, " ")
}

func TestMemoryRoster_ANodeThatEndsTellsAtOnceWhatWouldBeDueLater(t *testing.T) {
	m := newFacts(t)
	m.Declare(
		broker.Change{Kind: broker.UserHere, Name: "ann", Tell: true},
		broker.Change{Kind: broker.UserGone, Name: "ann", Tell: true, Delay: time.Hour},
	)
	m.Flush(t.Context())
	if got, want := m.all(), fmt.Sprintf("%d:ann %d:ann", broker.UserOnline, broker.UserOffline); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestMemoryRoster_NobodyIsOfflineAfterClose(t *testing.T) {
	m := newFacts(t)
	m.Declare(
		broker.Change{Kind: broker.UserHere, Name: "ann"},
		broker.Change{Kind: broker.UserGone, Name: "ann", Tell: true, Delay: time.Millisecond},
		broker.Change{Kind: broker.UserHere, Name: "bob"},
		broker.Change{Kind: broker.UserGone, Name: "bob", Tell: true, Delay: time.Hour},
	)
	testkit.Eventually(t, "ann is offline", func() bool { return m.all() != "" })
	_ = m.Close()
	if got, want := m.all(), fmt.Sprintf("%d:ann", broker.UserOffline); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestMemoryLetters_TheOldestMakeRoomAndAgeEndsThem(t *testing.T) {
	m := newFacts(t)
	m.LimitOutbox(broker.OutboxLimits{DeadLetters: 2, Age: time.Hour})
	now := time.Now().UnixMilli()
	for i, id := range []string{"a", "b", "b", "c"} {
		m.Bury(broker.DeadLetter{ID: id, Reason: fmt.Sprint(i), At: now})
	}
	ids := func() (all string) {
		for cursor := ""; ; {
			page, next, err := m.DeadLetters(context.Background(), cursor, 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range page {
				all += l.ID + l.Reason
			}
			if cursor = next; next == "" {
				return all
			}
		}
	}
	if got := ids(); got != "b2c3" {
		t.Errorf("kept %q, want the last two", got)
	}
	if ok, _ := m.Drop(context.Background(), "b"); !ok {
		t.Error("b was not there to be dropped")
	}
	if ok, _ := m.Drop(context.Background(), "c"); !ok {
		t.Error("c was not there to be dropped")
	}
	if _, ok, _ := m.DeadLetter(context.Background(), "c"); ok {
		t.Error("c is there")
	}
	m.Bury(broker.DeadLetter{ID: "d", At: now - time.Hour.Milliseconds()})
	if _, dead := m.OutboxSize(); dead != 0 {
		t.Errorf("%d dead letters, want none: d is too old", dead)
	}
}

func TestRoster(t *testing.T) {
	brokertest.RunRoster(t, brokertest.Rosters{Most: 1, Make: func(*testing.T, int) []brokertest.RosterBroker {
		return []brokertest.RosterBroker{memory.New()}
	}})
}
