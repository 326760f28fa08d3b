package roster

import (
	"encoding/json"
	"strings"
	"testing"
)

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
