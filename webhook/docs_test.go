package webhook

import (
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
