package protocol

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/hub"
)

// TestCloseCodes_AreDocumented holds docs/close-codes.md to the table: each end that
// a client can see has its row.
func TestCloseCodes_AreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/close-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	for why, e := range ends {
		if row := "| " + strconv.Itoa(e.code) + " |"; e.code != CodeAbnormal && !strings.Contains(string(doc), row) {
			t.Errorf("no row %q for %v", row, why)
		}
	}
}

func TestCode_EveryCauseHasOne(t *testing.T) {
	for why := hub.PeerReset; why <= hub.Disconnected; why++ {
		code, _ := Code(&hub.Cause{Why: why, Code: 4321, Reason: ""})
		chosen := why == hub.PeerClosed || why == hub.Disconnected
		if code == 0 || (code == 4321) != chosen {
			t.Errorf("%v (%s): got %d", why, why.Label(), code)
		}
	}
	if code, reason := Code(&hub.Cause{Why: hub.BadProtocol, Reason: "bad frame length"}); code != 1002 || reason != "bad frame length" {
		t.Errorf("got %d %q", code, reason)
	}
}
