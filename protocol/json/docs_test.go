package json

import (
	"os"
	"strings"
	"testing"
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
