package requestid_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pushcart/pushcart/internal/requestid"
)

func TestAppend_MakesUUIDsOfVersion7(t *testing.T) {
	now, seen := time.UnixMilli(1_700_000_000_123), map[string]bool{}
	for range 1000 {
		text := string(requestid.Append([]byte("id="), now))[len("id="):]
		id, err := uuid.Parse(text)
		if err != nil || id.Version() != 7 || id.Variant() != uuid.RFC4122 || seen[text] {
			t.Fatalf("%s: %v, version %v, variant %v, seen %v", text, err, id.Version(), id.Variant(), seen[text])
		}
		if s, ns := id.Time().UnixTime(); time.Unix(s, ns).UnixMilli() != now.UnixMilli() {
			t.Fatalf("%s is of %v", text, time.Unix(s, ns))
		}
		seen[text] = true
	}
	b := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { requestid.Append(b, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestGood_TakesWhatMeansNothingElsewhere(t *testing.T) {
	for id, want := range map[string]bool{
		"0190d2c6-7f9a-7c3e-8f00-1234567890ab": true, "Root=1-67891233-abcdef012345678912345678": true, "4711": true,
		"": false, strings.Repeat("a", 128): true, strings.Repeat("a", 129): false,
		"a b": false, "a\"b": false, "a\\b": false, "a\nb": false, "é": false, "a;b": false, "$(x)": false,
	} {
		if got := requestid.Good([]byte(id)); got != want {
			t.Errorf("%q: got %v", id, got)
		}
	}
}
