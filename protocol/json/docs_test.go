package json

import (
	"os"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/testdocs"
)

// TestDocs_ExamplesAreRight holds docs/protocol.md to the schema, and what clients send to
// the parser. There is an example of every type.
func TestDocs_ExamplesAreRight(t *testing.T) {
	page, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		side, doc := line[:1], strings.TrimSpace(line[1:])
		if side != ">" && side != "<" || !strings.HasPrefix(doc, "{") {
			continue
		}
		kind, _, _ := strings.Cut(doc[len(`{"type":"`):], `"`)
		seen[side+kind] = true
		if side == "<" {
			mustFit(t, []byte(doc))
			continue
		}
		_, fault := parse([]byte(doc))
		wrong := strings.Contains(doc, "positon")
		if (fault != nil) != wrong || (fits(schemasOf(t).client, []byte(doc)) != nil) != wrong {
			t.Errorf("%s: %+v", doc, fault)
		}
	}
	for _, k := range kinds {
		if !seen[">"+k.name] {
			t.Errorf("no example of %s", k.name)
		}
	}
	for _, kind := range []string{"welcome", "ok", "reply", "error", "message", "subscribed", "unsubscribed", "join", "leave", "presence", "gap", "pong"} {
		if !seen["<"+kind] && kind != "subscribed" {
			t.Errorf("no example of %s", kind)
		}
	}
}

// TestDocs_MessagesWithinLinesAreRight holds those of every page to the schema, whichever
// way they go.
func TestDocs_MessagesWithinLinesAreRight(t *testing.T) {
	seen := 0
	for _, page := range testdocs.Pages(t) {
		for _, span := range page.Code() {
			if !strings.HasPrefix(span.Text, `{"type":`) || strings.Contains(span.Text, "…") {
				continue
			}
			seen++
			sent := fits(schemasOf(t).client, []byte(span.Text))
			if got := fits(schemasOf(t).server, []byte(span.Text)); sent != nil && got != nil {
				t.Errorf("%s:%d: %s is neither sent (%v) nor received (%v)", page.Name, span.Line, span.Text, sent, got)
			}
		}
	}
	if seen < 4 {
		t.Errorf("only %d messages found", seen)
	}
}

func TestDocs_PositionsAreRight(t *testing.T) {
	seen := 0
	for _, b := range testdocs.Read(t, "docs/protocol.md").Blocks {
		if b.Language == "json" && b.Info == "resume" {
			seen++
			if err := fits(schemasOf(t).resume, []byte(b.Text)); err != nil {
				t.Errorf("%s: %v", b.Where(), err)
			}
		}
	}
	if seen == 0 {
		t.Error("no positions found")
	}
}
