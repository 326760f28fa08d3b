package session

import (
	"testing"

	"github.com/pushcart/pushcart/config"
)

func TestRules_TheFirstThatFitsHolds(t *testing.T) {
	r, err := newRules([]config.ChannelRule{
		{Match: "mine.{user}.**", Subscribe: "user", Publish: "nobody"},
		{Match: "mine.*.public", Subscribe: "anyone", Publish: "nobody"},
		{Match: "chat.*", Subscribe: "webhook", Publish: "granted"},
		{Match: "chat.**", Subscribe: "nobody", Publish: "anyone"},
	}, config.Users{})
	if err != nil {
		t.Fatal(err)
	}
	f := func(channel, user, subscribe, publish string) {
		t.Helper()
		if got := r.of(channel, user); got.subscribe != subscribe || got.publish != publish {
			t.Errorf("%s for %q: got %s, %s", channel, user, got.subscribe, got.publish)
		}
	}
	f("mine.ann.x", "ann", "user", "nobody")
	f("mine.bob.x", "ann", "nobody", "nobody")
	f("mine.bob.public", "ann", "nobody", "nobody") // the rule after is not asked
	f("mine.bob.x", "", "nobody", "nobody")
	f("mine.a%2Eb.x", "a.b", "user", "nobody")
	f("mine.a.b.x", "a.b", "nobody", "nobody")
	f("chat.1", "", "webhook", "granted")
	f("chat.1.x", "", "nobody", "anyone")
	f("other", "ann", "nobody", "nobody")
}

func TestGrants(t *testing.T) {
	g, bad := newGrants([]string{"a", "b.*", "c.{user}.*", "***", "{x}*"})
	if len(bad) != 2 {
		t.Errorf("bad: %q", bad)
	}
	f := func(channel string, want bool) {
		t.Helper()
		if got := g.cover(channel, "ann"); got != want {
			t.Errorf("%s: got %v", channel, got)
		}
	}
	f("a", true)
	f("ab", false)
	f("b.x", true)
	f("b.x.y", false)
	f("c.ann.x", true)
	f("c.bob.x", false)
	if g, _ := newGrants(nil); g.cover("a", "ann") {
		t.Error("nothing grants something")
	}
}
