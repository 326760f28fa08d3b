package hub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/internal/testkit"
)

func TestHub_CountsWhoIsHere(t *testing.T) {
	h := alone(t)
	want := func(connections, users, channels int) {
		t.Helper()
		if c, u, ch := h.Connections(), h.Users(), h.Channels(); c != connections || u != users || ch != channels {
			t.Errorf("got %d connections, %d users, %d channels; want %d, %d, %d", c, u, ch, connections, users, channels)
		}
	}
	a := join(t, h, "42", "news", "sport")
	b := join(t, h, "42", "news")
	c := join(t, h, "")
	want(3, 1, 2)
	if got := a.Member().Channels(); !slices.Equal(got, []string{"news", "sport"}) || a.Member().User() != "42" {
		t.Errorf("member: user %q, channels %q", a.Member().User(), got)
	}
	h.Leave(a)
	h.Leave(a)
	want(2, 1, 1)
	h.Leave(b)
	h.Leave(c)
	want(0, 0, 0)
	if got := a.Member().Channels(); len(got) != 0 {
		t.Errorf("channels after leaving: %q", got)
	}
}

// A user has many connections; each of them is found, also after others left.
func TestHub_UserWithManyConnections(t *testing.T) {
	h := alone(t)
	var all []*fakeConn
	for range 10 {
		all = append(all, join(t, h, "42"))
	}
	for i, c := range all {
		mustPublish(t, h, fmt.Sprintf(`{"to":{"users":["42"]},"text":"%d"}`, i))
		h.Leave(c)
	}
	for i, c := range all {
		var want []string
		for n := range i + 1 {
			want = append(want, fmt.Sprint(n))
		}
		wantFrames(t, c, want...)
	}
	if r := mustPublish(t, h, `{"to":{"users":["42"]},"text":"x"}`); r.Nodes != 0 {
		t.Errorf("nodes for a user who left: %d", r.Nodes)
	}
}

func TestHub_SubscribesForTheFirstAndUnsubscribesAfterTheLast(t *testing.T) {
	h, _, net := pair(t)
	want := func(user, channel int) {
		t.Helper()
		if u, c := net.Subscribers("user:42"), net.Subscribers("channel:news"); u != user || c != channel {
			t.Errorf("subscribed nodes: user %d, channel %d; want %d, %d", u, c, user, channel)
		}
	}
	want(0, 0)
	a, b := join(t, h, "42", "news"), join(t, h, "42", "news")
	want(1, 1)
	h.Leave(a)
	want(1, 1)
	h.Leave(b)
	want(0, 0)
}

func TestHub_JoinWaitsForTheConfirmation(t *testing.T) {
	h, _, net := pair(t)
	confirm := make(chan struct{})
	net.Set(func() { net.Confirm = confirm })
	// Both wait: the second may not rely on a subscription that is not confirmed.
	done := make(chan error, 2)
	for range 2 {
		go func() {
			done <- h.Join(t.Context(), &fakeConn{member: h.NewMember()}, "42", nil)
		}()
	}
	testkit.Eventually(t, "registered", func() bool { return h.Connections() == 2 })
	select {
	case err := <-done:
		t.Fatalf("Join returned before the confirmation: %v", err)
	default:
	}
	close(confirm)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestHub_JoinRegistersWhenTheBrokerIsSlow(t *testing.T) {
	h, _, net := pair(t)
	net.Set(func() { net.Confirm = make(chan struct{}) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &fakeConn{member: h.NewMember()}
	if err := h.Join(ctx, c, "42", nil); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if h.Users() != 1 || net.Subscribers("user:42") != 1 {
		t.Error("not registered")
	}
}

func TestHub_JoinDoesNotWaitForABrokerThatIsAway(t *testing.T) {
	h, _, net := pair(t)
	net.Set(func() { net.Down, net.Confirm = true, make(chan struct{}) })
	if err := h.Join(t.Context(), &fakeConn{member: h.NewMember()}, "42", nil); err == nil {
		t.Error("no error")
	}
	if h.Users() != 1 {
		t.Error("not registered")
	}
}

// Who leaves while he still joins leaves nothing behind.
func TestHub_LeaveDuringJoin(t *testing.T) {
	h, _, net := pair(t)
	confirm := make(chan struct{})
	net.Set(func() { net.Confirm = confirm })
	c := &fakeConn{member: h.NewMember()}
	done := make(chan error)
	go func() { done <- h.Join(t.Context(), c, "42", []string{"news"}) }()
	testkit.Eventually(t, "subscribed", func() bool { return net.Subscribers("channel:news") == 1 })
	h.Leave(c)
	close(confirm)
	<-done
	if net.Subscribers("user:42") != 0 || net.Subscribers("channel:news") != 0 || h.Users()+h.Channels() != 0 {
		t.Error("something is left")
	}
}

// Joins and leaves of the same user and channel, all at once, end with exactly
// the subscriptions that those who are here need.
func TestHub_RacesOfJoinAndLeave(t *testing.T) {
	for round := range 50 {
		h, _, net := pair(t)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(round), uint64(i)))
				for range 20 {
					user := fmt.Sprint(r.IntN(2))
					channel := fmt.Sprint("c", r.IntN(2))
					c := &fakeConn{member: h.NewMember()}
					if r.IntN(4) == 0 {
						wg.Go(func() { h.Leave(c) }) // perhaps before, perhaps while it joins
					}
					_ = h.Join(t.Context(), c, user, []string{channel})
					if r.IntN(8) > 0 {
						h.Leave(c)
						h.Leave(c)
					}
				}
			})
		}
		wg.Wait()
		total := 0
		for _, name := range []string{"0", "1", "c0", "c1"} {
			topic, here := UserTopic+name, 0
			if name[0] == 'c' {
				topic = ChannelTopic + name
				here = len(h.here.Channels.AppendTo(nil, name))
			} else {
				here = len(h.here.Users.AppendTo(nil, name))
				total += here
			}
			if want := min(1, here); net.Subscribers(topic) != want {
				t.Errorf("round %d: %s has %d connections and %d subscriptions", round, topic, here, net.Subscribers(topic))
			}
		}
		if h.Connections() != total {
			t.Errorf("round %d: %d connections, of users %d", round, h.Connections(), total)
		}
	}
}

// partly is a broker of several servers, of which that of one topic is away.
type partly struct {
	Broker
	broken atomic.Bool
	away   string

	mu     sync.Mutex // guards waited
	waited map[string]bool
}

func (b *partly) Up() bool                { return !b.broken.Load() }
func (b *partly) UpFor(topic string) bool { return b.Up() || topic != b.away }

func (b *partly) Subscribe(ctx context.Context, wanted ...broker.Subscription) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range wanted {
		b.waited[s.Topic] = ctx.Err() == nil
	}
	return ctx.Err()
}

func TestJoin_WaitsForWhatIsNotAway(t *testing.T) {
	b := &partly{Broker: memory.New(), away: UserTopic + "ann", waited: map[string]bool{}}
	h := newHub(t, b)
	b.broken.Store(true)
	m := &fan{member: h.NewMember()}
	if err := h.Join(t.Context(), m, "ann", []string{"news", "chat"}); err == nil {
		t.Error("no error, though the user's topic is away")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for topic, want := range map[string]bool{UserTopic + "ann": false, ChannelTopic + "news": true, ChannelTopic + "chat": true} {
		if got, asked := b.waited[topic]; !asked || got != want {
			t.Errorf("%s: asked %v, waited for %v, want %v", topic, asked, got, want)
		}
	}
}
