package ws

import (
	"os"
	"strings"
	"testing"
)

// TestCloseCodes_AreDocumented holds docs/close-codes.md to the code: each ending
// that a client can see has its row.
func TestCloseCodes_AreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/close-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []*ending{
		endNoPong, endSlow, endExpired, endReplaced, endDrain, endAway, endInternal, endNoAnswer, endRefused, endTooBig,
		endUTF8, protocolError(""),
	} {
		if row := "| " + itoa(e.code) + " |"; !strings.Contains(string(doc), row) {
			t.Errorf("no row %q", row)
		}
	}
}

func itoa(n int) string {
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}
