package webhook

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/testdocs"
)

// TestDocs_ConnectAnswersAreRight: an answer to connect that a page shows can be read,
// and has no name that would be ignored.
func TestDocs_ConnectAnswersAreRight(t *testing.T) {
	seen := 0
	for _, page := range testdocs.Pages(t) {
		for _, span := range page.Code() {
			if !strings.HasPrefix(span.Text, `{"user_id":`) || strings.Contains(span.Text, "…") {
				continue
			}
			seen++
			if c, err := parseConnectAnswer([]byte(span.Text)); err != nil || c.unknown != "" {
				t.Errorf("%s:%d: %s: %v, %q is not known", page.Name, span.Line, span.Text, err, c.unknown)
			}
		}
	}
	if seen < 3 {
		t.Errorf("only %d answers found", seen)
	}
}

// TestDocs_ConnectIsShownAsItIsSent: the body with its table has the names of the request
// above, which a test of integration holds to what is sent; and claims, which come with a
// token.
func TestDocs_ConnectIsShownAsItIsSent(t *testing.T) {
	var shown, sent []string
	names := func(body string) []string {
		var object map[string]any
		if err := json.Unmarshal([]byte(body), &object); err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(maps.Keys(object))
	}
	for _, b := range testdocs.Read(t, "docs/webhooks.md").Blocks {
		switch b.Language + " " + b.Info {
		case "json connect":
			shown = names(b.Text)
		case "http connect":
			_, body, _ := strings.Cut(b.Text, "\n\n")
			sent = names(body)
		}
	}
	sent = append(sent, "claims")
	slices.Sort(sent)
	if !slices.Equal(shown, sent) {
		t.Errorf("the page shows\n%q, sent is\n%q", shown, sent)
	}
}
