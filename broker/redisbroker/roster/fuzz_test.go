package roster

import (
	"encoding/json"
	"strings"
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
		m, ok := ParseFrame("channel:chat", payload)
		if !ok {
			if m.Presence != nil || m.Kind != 0 {
				t.Errorf("refused, and %+v", m)
			}
			return
		}
		if !IsFrame(payload) || m.Topic != "channel:chat" || m.Presence == nil || m.Payload != nil {
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

// What is stored may have been changed by hand.
func FuzzParseMember(f *testing.F) {
	for _, seed := range []string{"1700000000000 2 {\"a\":1}", "1 2 ", "", " ", "x y z", "1 -5 {}", "99999999999999999999 1 \n", "1 2 {\"a\":"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m := parseMember("ann", text)
		if m.User != "ann" || m.Connections < 0 || m.Since < 0 || m.Info != nil && !json.Valid(m.Info) {
			t.Errorf("%q is %+v", text, m)
		}
		reply, err := parseMembers([]any{int64(1), int64(0), "ann", text})
		if err != nil || len(reply.Page) != 1 || reply.Total != 1 || reply.More {
			t.Errorf("%q: %+v, %v", text, reply, err)
		}
	})
}

func FuzzParseField(f *testing.F) {
	for _, seed := range []string{"_", "cabc", "uann", "ochat", "mchat\nann", "mchat", "m\n", "", "x", "c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		k, ok := parseField(field)
		if !ok {
			return
		}
		back := string(k.letter) + k.name
		if k.letter == 'm' {
			back += memberGap + k.user
		}
		if back != field || !strings.ContainsRune("cuom", rune(k.letter)) {
			t.Errorf("%q is %+v", field, k)
		}
	})
}
