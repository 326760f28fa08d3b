package streams

import (
	"encoding/json"
	"testing"

	"github.com/pushcart/pushcart/broker"
)

// What comes through pub/sub may be anybody's.
func FuzzParseFrame(f *testing.F) {
	for _, seed := range []string{
		"\xf5{\"kind\":\"joined\",\"user\":\"ann\",\"info\":{\"a\":[1,\"\\u00e9\"]}}", "\xf5{\"kind\":\"left\",\"user\":\"a\\/b\"}",
		"\xf5{\"kind\":\"paused\"}", "\xf5{\"kind\":\"resumed\",\"members\":[{\"user\":\"ann\",\"connections\":2,\"since\":17,\"info\":null}]}",
		"\xf5{}", "\xf5{\"kind\":\"joined\"}", "\xf5e 1 2 3 {", "{}", "", "\xf5", "\xf5{\"kind\":\"left\",\"user\":1}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		m, ok := parseFrame("channel:chat", payload)
		if !ok {
			if m.Presence != nil || m.Kind != 0 {
				t.Errorf("refused, and %+v", m)
			}
			return
		}
		if !isFrame(payload) || m.Topic != "channel:chat" || m.Presence == nil || m.Payload != nil {
			t.Errorf("%q is %+v", payload, m)
		}
		switch m.Kind {
		case broker.Joined, broker.Left:
			if m.Presence.User == "" {
				t.Errorf("%q is about nobody", payload)
			}
		case broker.Paused, broker.Resumed:
		default:
			t.Errorf("%q is of kind %d", payload, m.Kind)
		}
		if len(m.Presence.Members) > broker.MaxMembers || len(m.Presence.Info) > 0 && !json.Valid(m.Presence.Info) {
			t.Errorf("%q has %d members, info %q", payload, len(m.Presence.Members), m.Presence.Info)
		}
	})
}
