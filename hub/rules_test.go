package hub

import (
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
)

// keptMessages is what keeping keeps.
const keptMessages = 100

// keeping are rules that keep the channels of a pattern, "" for none, and users.
func keeping(t testing.TB, channels string, users bool) *Rules {
	t.Helper()
	keeps := config.History{Messages: keptMessages, Age: time.Hour}
	var list []config.ChannelRule
	if channels != "" {
		list = []config.ChannelRule{{Match: channels, History: keeps}}
	}
	var u config.Users
	if users {
		u.History = keeps
	}
	r, err := NewRules(list, u, config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestHub_ChecksHowManyUsersAStreamExcepts(t *testing.T) {
	h := alone(t)
	h.Apply(keeping(t, "kept", true))
	f := func(to string, excepted int, refused bool) {
		t.Helper()
		p := pushesOf(t, `{"to":`+to+`,"except":{"users":[`+quoted("u", excepted)+`]},"text":"x"}`)[0]
		if err := h.Check(p); (err != nil) != refused || err != nil && err.Field != "except.users" {
			t.Errorf("%s but for %d users: got %v, want refused %v", to, excepted, err, refused)
		}
	}
	f(`{"channels":["kept"]}`, MaxExceptKept, false)
	f(`{"channels":["kept"]}`, MaxExceptKept+1, true)
	f(`{"channels":["other","kept"]}`, MaxExceptKept+1, true)
	f(`{"users":["42"]}`, MaxExceptKept+1, true)
	f(`{"channels":["other"]}`, MaxExceptKept+1, false)
	f(`{"all":true}`, MaxExceptKept+1, false)
}
