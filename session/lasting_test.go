package session

import (
	"slices"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
)

func TestAdmission_JoinsWhatTheUserIsSubscribedToForGood(t *testing.T) {
	e := newTestEngine(t, func(c *config.Config) { c.Auth.JWT.Secret = tokenSecret })
	rules, err := hub.NewRules(nil, config.Users{}, config.Limits{ChannelsPerConnection: 3})
	if err != nil {
		t.Fatal(err)
	}
	e.Hub().Apply(rules)
	ann := asAnn()
	before := open(t, e, ann)
	for _, channel := range []string{"b", "a"} {
		if err := e.Hub().SubscribeUser(t.Context(), "ann", channel); err != nil {
			t.Fatal(err)
		}
	}
	after := open(t, e, ann)
	for i, c := range []*tape{before, after} {
		if got := slices.Sorted(slices.Values(c.Info().Channels)); !slices.Equal(got, []string{"a", "b", "token"}) {
			t.Errorf("connection %d: channels %q", i, got)
		}
		c.End(&hub.Cause{Why: hub.PeerClosed})
	}
	if n := e.Hub().Channels(); n != 0 {
		t.Errorf("%d channels are left", n)
	}
}
