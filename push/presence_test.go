package push

import (
	"regexp"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/hub/hubtest"
)

// present is a hub that keeps who is in the rooms: ann twice and bob are in the first.
func present(t testing.TB) *hub.Hub {
	t.Helper()
	h := hubtest.Alone(t)
	rules, err := hub.NewRules([]config.ChannelRule{{Match: "room.*", Presence: true}}, config.Users{}, config.Limits{ChannelsPerConnection: 3})
	if err != nil {
		t.Fatal(err)
	}
	h.Apply(rules)
	for _, user := range []string{"bob", "ann", "", "ann"} {
		hubtest.Join(t, h, user, "room.1")
	}
	return h
}

var sinces = regexp.MustCompile(`"since":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`)

func TestPresence_PagesThroughTheMembers(t *testing.T) {
	s := serve(t, present(t))
	f := func(query, want string) {
		t.Helper()
		r := s.want(200, "GET", "/v1/channels/room.1/presence"+query, "")
		if got := sinces.ReplaceAllString(r.body, `"since":"T"`); got != want {
			t.Errorf("%s: got %s\nwant %s", query, got, want)
		}
	}
	const ann, bob = `{"user_id":"ann","connections":2,"since":"T"}`, `{"user_id":"bob","connections":1,"since":"T"}`
	f("", `{"users":[`+ann+`,`+bob+`],"total":2}`)
	f("?limit=1", `{"users":[`+ann+`],"total":2,"next":"ann"}`)
	f("?limit=1&cursor=ann", `{"users":[`+bob+`],"total":2}`)
	f("?cursor=zoe", `{"users":[],"total":2}`)
	if r := s.want(200, "GET", "/v1/channels/room.2/presence", ""); r.body != `{"users":[],"total":0}` {
		t.Errorf("an empty room: %s", r.body)
	}
}

func TestPresence_Refusals(t *testing.T) {
	s := serve(t, present(t))
	s.wantError(404, "not_found", "", "GET", "/v1/channels/news/presence", "")
	s.wantError(400, "invalid_argument", "limit", "GET", "/v1/channels/room.1/presence?limit=1001", "")
	s.wantError(400, "invalid_argument", "cursor", "GET", "/v1/channels/room.1/presence?cursor=", "")
	s.wantError(400, "invalid_argument", "after", "GET", "/v1/channels/room.1/presence?after=x", "")
	s.wantError(405, "method_not_allowed", "", "POST", "/v1/channels/room.1/presence", "")
}
