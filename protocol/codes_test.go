package protocol

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/testdocs"
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

// TestTroubleshooting_HasEveryCloseCode holds docs/troubleshooting.md to the same table.
func TestTroubleshooting_HasEveryCloseCode(t *testing.T) {
	var listed, want []string
	section := testdocs.Read(t, "docs/troubleshooting.md").Section("Close codes")
	for _, row := range testdocs.Parse("", section).Rows() {
		listed = append(listed, row[0])
	}
	for code := range meanings {
		want = append(want, strconv.Itoa(code))
	}
	want = append(want, "4100–4999")
	slices.Sort(want)
	if !slices.Equal(listed, want) {
		t.Errorf("the page has\n%q, want\n%q", listed, want)
	}
}

// TestMeaning_IsThatOfTheDocs holds what pushcart listen prints to the page.
func TestMeaning_IsThatOfTheDocs(t *testing.T) {
	doc, err := os.ReadFile("../docs/close-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(strings.ReplaceAll(string(doc), "`", "")) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		code, err := strconv.Atoi(strings.TrimPrefix(strings.Split(cells[0], "–")[0], "| "))
		if len(cells) != 3 || err != nil {
			continue
		}
		rows++
		why, reconnect := Meaning(code)
		if why != cells[1] || reconnect != strings.TrimSuffix(cells[2], " |") {
			t.Errorf("%d: got %q, %q; the page says %q", code, why, reconnect, cells[1:])
		}
	}
	if rows != len(meanings) { // 4100–4999 is a row and 1006, which is never on the wire, is none
		t.Errorf("%d rows, %d meanings", rows, len(meanings))
	}
	if why, _ := Meaning(CodeAbnormal); why == "" {
		t.Error("1006 has no meaning")
	}
	if why, _ := Meaning(4002); why != "" {
		t.Errorf("4002: %q", why)
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
