package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub/internal/envelope"
	"github.com/pushcart/pushcart/hub/internal/receipt"
	"github.com/pushcart/pushcart/hub/internal/registry"
	"github.com/pushcart/pushcart/internal/ids"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"

	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/metrics"
)

// fan is a follower that writes down what it is told, in order.
type fan struct {
	member Member

	mu     sync.Mutex // guards all below
	log    []string
	room   int // of messages; < 0: without end
	onRoom func()
}

func (f *fan) Member() *Member          { return &f.member }
func (f *fan) End(*Cause)               {}
func (f *fan) Info() Info               { return Info{ConnectionID: f.member.ID()} }
func (f *fan) SetState(json.RawMessage) {}
func (f *fan) note(s string)            { f.mu.Lock(); defer f.mu.Unlock(); f.log = append(f.log, s) }
func (f *fan) lines() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.log...)
}
func (f *fan) text() string { return strings.Join(f.lines(), " ") }
func (f *fan) has(line string) func() bool {
	return func() bool { return strings.Contains(f.text(), line) }
}

func (f *fan) Send(batch []*Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range batch {
		switch m.Kind {
		case Gap:
			f.log = append(f.log, fmt.Sprint("gap@", m.Offset))
		case Subscribed:
			_, name := registry.SplitTopic(m.Topic)
			f.log = append(f.log, fmt.Sprint("subscribed:", name, "@", m.Offset))
		case Unsubscribed:
			_, name := registry.SplitTopic(m.Topic)
			f.log = append(f.log, "unsubscribed:"+name)
		case Joined:
			f.log = append(f.log, "+"+m.Presence.User)
		case Left:
			f.log = append(f.log, "-"+m.Presence.User)
		case Paused:
			f.log = append(f.log, "paused")
		case Resumed:
			f.log = append(f.log, fmt.Sprint("resumed:", len(m.Presence.Members)))
		default:
			f.log = append(f.log, string(m.Data))
		}
		if f.room > 0 {
			f.room--
		}
		m.Done(receipt.Written)
	}
}

func (f *fan) Room() (messages, bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.room < 0 {
		return 128, 1 << 20
	}
	return f.room, 1 << 20
}

func (f *fan) OnRoom(do func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.room != 0 {
		return false
	}
	f.onRoom = do
	return true
}

func (f *fan) makeRoom(n int) {
	f.mu.Lock()
	f.room = n
	do := f.onRoom
	f.onRoom = nil
	f.mu.Unlock()
	if do != nil {
		do()
	}
}

func newFan(h *Hub, user string) *fan {
	f := &fan{member: h.NewMember(), room: -1}
	h.Enter(f, user)
	return f
}

// answer writes down how a subscription began.
func (f *fan) answer(got Followed, err error) {
	switch {
	case err != nil:
		f.note(err.Error())
	default:
		f.note(fmt.Sprint("ok@", got.Position.Offset, map[bool]string{true: "+"}[got.Recovered]))
	}
}

func (f *fan) follow(h *Hub, channel string, from Start) { h.Follow(f, channel, from, 10, f.answer) }

func keepingAlone(t testing.TB) *Hub {
	h := alone(t)
	h.Apply(keepingMany(t))
	return h
}

func say(t testing.TB, h *Hub, channel, text string) Position {
	t.Helper()
	r := mustPublish(t, h, fmt.Sprintf(`{"to":{"channels":[%q]},"text":%q}`, channel, text))
	if len(r.Positions) == 0 {
		return Position{}
	}
	return r.Positions[0].Position
}

func TestFollow_TheAnswerComesFirst(t *testing.T) {
	h := keepingAlone(t)
	for _, channel := range []string{"kept.a", "plain"} {
		f := newFan(h, "")
		f.follow(h, channel, Start{})
		testkit.Eventually(t, "it is answered", f.has("ok@0"))
		say(t, h, channel, "one")
		say(t, h, channel, "two")
		testkit.Eventually(t, "both arrive", f.has("two"))
		if got := f.text(); got != "ok@0 one two" {
			t.Errorf("%s: got %s", channel, got)
		}
		if n := h.followed.count.Load(); (n > 0) != (channel == "kept.a") {
			t.Errorf("%s: %d streams are followed", channel, n)
		}
		h.Leave(f)
		if n := h.followed.count.Load(); n != 0 {
			t.Errorf("%s: %d streams are followed by nobody", channel, n)
		}
	}
}

func TestFollow_AfterAPositionGetsWhatWasMissed(t *testing.T) {
	h := keepingAlone(t)
	var at []Position
	for i := range 5 {
		at = append(at, say(t, h, "kept.a", fmt.Sprint(i+1)))
	}
	for _, c := range []struct {
		from Start
		want string
	}{
		{Start{After: &at[2]}, "ok@5+ 4 5 live"},
		{Start{After: &at[4]}, "ok@5+ live"},
		{Start{After: &Position{Epoch: at[0].Epoch}}, "ok@5+ 1 2 3 4 5 live"},
		{Start{Recent: 2}, "ok@5 4 5 live"},
		{Start{Recent: 20}, "ok@5 1 2 3 4 5 live"},
		{Start{}, "ok@5 live"},
		{Start{After: &Position{Offset: 6, Epoch: at[0].Epoch}}, "ok@5 gap@5 live"},
		{Start{After: &Position{Offset: 2, Epoch: "other"}}, "ok@5 gap@5 live"},
	} {
		f := newFan(h, "")
		f.follow(h, "kept.a", c.from)
		want := strings.TrimSuffix(c.want, " live")
		testkit.Eventually(t, "it is where it should be: "+want, func() bool { return f.text() == want })
		testkit.Eventually(t, "it gets what comes", func() bool { return h.catchUp.waiting() == 0 && h.settled("channel:kept.a") })
		h.Leave(f)
	}
}

// settled: nobody is on his way.
func (h *Hub) settled(topic string) bool {
	s := h.followed.get(topic)
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.followers {
		if f.cursor != nil {
			return false
		}
	}
	return true
}

func TestFollow_WhoIsSubscribedGetsWhatLiesBefore(t *testing.T) {
	h := keepingAlone(t)
	first := say(t, h, "kept.a", "1")
	say(t, h, "kept.a", "2")
	f := newFan(h, "")
	f.follow(h, "kept.a", Start{})
	testkit.Eventually(t, "it is answered", f.has("ok@2"))
	testkit.Eventually(t, "it is live", func() bool { return h.settled("channel:kept.a") })
	say(t, h, "kept.a", "3")
	testkit.Eventually(t, "it gets what comes", f.has("3"))
	f.follow(h, "kept.a", Start{After: &first})
	testkit.Eventually(t, "it gets what lies before", f.has("3 ok@3+ 2"))
	say(t, h, "kept.a", "4")
	testkit.Eventually(t, "and goes on", f.has("4"))
	if got := f.text(); got != "ok@2 3 ok@3+ 2 4" {
		t.Errorf("got %s", got)
	}
}

func TestFollow_WaitsForRoom(t *testing.T) {
	h := keepingAlone(t)
	at := say(t, h, "kept.a", "0")
	for i := range 100 {
		say(t, h, "kept.a", fmt.Sprint(i+1))
	}
	f := newFan(h, "")
	f.room = 10
	f.follow(h, "kept.a", Start{After: &at})
	testkit.Eventually(t, "it fills its room", func() bool { return len(f.lines()) == 11 })
	say(t, h, "kept.a", "101")
	for n := 11; n < 102; n += 10 {
		testkit.Eventually(t, "it waits", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.log) >= n && f.onRoom != nil })
		f.makeRoom(10)
		testkit.Eventually(t, "it goes on", func() bool { return len(f.lines()) >= min(n+10, 102) })
	}
	got := f.lines()
	for i, line := range got[1:] {
		if line != fmt.Sprint(i+1) {
			t.Fatalf("line %d: got %s", i, line)
		}
	}
}

func TestUnfollow_EndsWhatIsJustBeginning(t *testing.T) {
	h := keepingAlone(t)
	at := say(t, h, "kept.a", "0")
	for i := range 20 {
		say(t, h, "kept.a", fmt.Sprint(i+1))
	}
	f := newFan(h, "")
	f.room = 5
	f.follow(h, "kept.a", Start{After: &at})
	testkit.Eventually(t, "it is on its way", func() bool { return len(f.lines()) == 6 })
	if !h.Unfollow(f, "kept.a") || h.Unfollow(f, "kept.a") {
		t.Error("it was subscribed once")
	}
	f.makeRoom(100)
	testkit.Eventually(t, "nobody is on his way", func() bool { return h.catchUp.waiting() == 0 })
	if got := f.member.Channels(); len(got) != 0 {
		t.Errorf("still in %q", got)
	}
	if n := len(f.lines()); n != 6 {
		t.Errorf("got %d lines after it left", n)
	}
	var err error
	done := make(chan struct{})
	h.Follow(f, "kept.b", Start{}, 0, func(_ Followed, e error) { err = e; close(done) })
	<-done
	if !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
}

// A subscription that is given up, as the broker does not answer, ends in one step, not in
// two at once: it was answered twice then, or with the wrong error.
func TestFollow_IsAnsweredOnceWhereTheBrokerDoesNotAnswer(t *testing.T) {
	b := memory.New()
	h := newHub(t, b)
	h.Apply(keepingMany(t))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		f := newFan(h, "")
		f.follow(h, fmt.Sprint("kept.", i), Start{})
		testkit.Eventually(t, "it is answered", func() bool { return len(f.lines()) > 0 })
		testkit.Eventually(t, "nobody is on his way", func() bool { return h.catchUp.waiting() == 0 && h.followed.count.Load() == 0 })
		if got := f.lines(); len(got) != 1 || !strings.Contains(got[0], broker.ErrClosed.Error()) {
			t.Fatalf("got %q", got)
		}
	}
}

// Publishers, and followers that come and go with positions: each gets every message
// after its position once and in order.
func TestFollow_NoMessageIsLostOrRepeatedInACrowd(t *testing.T) {
	throng(t, []*Hub{keepingAlone(t)}, 2_000)
}

func TestFollow_NoMessageIsLostOrRepeatedWithRedis(t *testing.T) {
	server := redistest.Start(t)
	var hubs []*Hub
	for range 2 {
		b, err := redisbroker.New(config.Redis{Addresses: []string{server.Addr}, Prefix: "pc"}, ids.NewNode(), metrics.New("", ""), discard())
		if err != nil {
			t.Fatal(err)
		}
		h := newHub(t, b)
		h.Apply(keepingMany(t))
		testkit.Eventually(t, "redis is up", b.Up)
		hubs = append(hubs, h)
	}
	throng(t, hubs, 1_000)
}

func throng(t *testing.T, hubs []*Hub, messages int) {
	first := say(t, hubs[0], "kept.a", "0")
	var publishers, followers sync.WaitGroup
	stop := make(chan struct{})
	for p := range 2 {
		publishers.Go(func() {
			for i := range messages / 2 {
				say(t, hubs[p%len(hubs)], "kept.a", fmt.Sprint(p, ":", i))
			}
		})
	}
	for i := range 8 {
		followers.Go(func() {
			h := hubs[i%len(hubs)]
			at, seen := first, []string{}
			for end := false; ; {
				f := newFan(h, "")
				f.follow(h, "kept.a", Start{After: &at})
				testkit.Eventually(t, "it is answered", f.has("ok@"))
				select {
				case <-stop:
					end = true
				case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
				}
				if end {
					testkit.Eventually(t, "it has all", func() bool { return len(seen)+len(f.lines())-1 >= messages })
				}
				h.Leave(f)
				lines := f.lines()
				if !strings.HasSuffix(lines[0], "+") {
					t.Errorf("not recovered after %v: %s", at, lines[0])
				}
				seen = append(seen, lines[1:]...)
				at.Offset = first.Offset + uint64(len(seen))
				if end {
					break
				}
			}
			next := map[string]int{}
			for _, m := range seen {
				p, n, _ := strings.Cut(m, ":")
				if n != fmt.Sprint(next[p]) {
					t.Errorf("follower %d: got %s, want number %d", i, m, next[p])
					return
				}
				next[p]++
			}
			if len(seen) != messages {
				t.Errorf("follower %d: %d messages, want %d", i, len(seen), messages)
			}
		})
	}
	publishers.Wait()
	close(stop)
	followers.Wait()
}

// keepingMany are rules that keep all that these tests publish.
func keepingMany(t testing.TB) *Rules {
	t.Helper()
	keep := config.History{Messages: 10_000, Age: time.Hour}
	r, err := NewRules([]config.ChannelRule{{Match: "kept.**", History: keep}}, config.Users{History: keep}, config.Limits{ChannelsPerConnection: 128})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A lane that is full drops messages; who follows gets them from what is kept.
func TestFollow_WhatALaneDropsIsRead(t *testing.T) {
	h := keepingAlone(t)
	f := newFan(h, "")
	f.follow(h, "kept.a", Start{})
	testkit.Eventually(t, "it is answered", f.has("ok@0"))
	say(t, h, "kept.a", "1")
	testkit.Eventually(t, "it is live", f.has("1"))
	group := h.lanes.to("channel:kept.a", envelope.PushKind).group
	group.waiting.Add(maxWaiting)
	say(t, h, "kept.a", "2")
	say(t, h, "kept.a", "3")
	group.waiting.Add(-maxWaiting)
	say(t, h, "kept.a", "4")
	say(t, h, "kept.a", "5")
	testkit.Eventually(t, "all arrive", f.has("5"))
	if got := f.text(); got != "ok@0 1 2 3 4 5" {
		t.Errorf("got %s", got)
	}
}

// A change of a user's lasting subscriptions that comes just after its list was read must
// reach a follower whose cursor has not moved yet.
func TestLasting_AFollowerListensBeforeItsListIsRead(t *testing.T) {
	h := keepingAlone(t)
	h.catchUp.mu.Lock()
	h.catchUp.running = recoverAtOnce // no cursor moves
	h.catchUp.mu.Unlock()
	f := newFan(h, "ann")
	h.FollowUser(f, Start{}, f.answer)
	_, settled := h.Lasting(t.Context(), f)
	settled()
	e := envelope.Envelope{Payload: []byte("x")}
	p := []broker.Publication{{Topic: UserTopic + "ann", Payload: e.Encode()}}
	if h.broker.Publish(t.Context(), p); p[0].Nodes != 1 {
		t.Errorf("%d nodes hear of a change, want this one", p[0].Nodes)
	}
}

// A subscription begins where it was answered, not where its connection stopped reading
// what others got as it came: who asks for earlier messages has those already.
func TestFollow_WhatCameWhileItBeganIsNotHandedOutAgain(t *testing.T) {
	h := keepingAlone(t)
	first := say(t, h, "kept.a", "1")
	say(t, h, "kept.a", "2")
	other := newFan(h, "") // has the lane know where it is
	other.follow(h, "kept.a", Start{})
	testkit.Eventually(t, "the other follows", other.has("ok@2"))
	f := newFan(h, "")
	h.Follow(f, "kept.a", Start{}, 10, func(Followed, error) {
		say(t, h, "kept.a", "3")
		testkit.Eventually(t, "the others have it", other.has("3"))
	})
	testkit.Eventually(t, "it has it", f.has("3"))
	testkit.Eventually(t, "it gets what comes", func() bool {
		joined := false
		h.followed.with(ChannelTopic+"kept.a", func(s *stream) { joined = s.find(f).cursor == nil })
		return joined
	})
	answered := make(chan struct{})
	h.Follow(f, "kept.a", Start{After: &first}, 10, func(Followed, error) { close(answered) })
	<-answered
	testkit.Eventually(t, "what is earlier is handed out", f.has("2"))
	say(t, h, "kept.a", "4")
	testkit.Eventually(t, "what is later comes", f.has("4"))
	if got := f.text(); got != "3 2 4" {
		t.Errorf("got %q, want 3 2 4", got)
	}
}
