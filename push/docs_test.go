package push

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/hub/hubtest"
)

// Every route is in the table of docs/push-api.md, and no other.
func TestDocs_ListEveryRoute(t *testing.T) {
	page, err := os.ReadFile("../docs/push-api.md")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`\{[a-z]+\}`)
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /v1/[^` ]+)` \\|").FindAllSubmatch(page, -1) {
		documented = append(documented, name.ReplaceAllString(string(m[1]), "{}"))
	}
	var routes []string
	a := newAPI(t, hubtest.Alone(t))
	for _, r := range a.routes {
		for method := range r.methods {
			routes = append(routes, method+" "+name.ReplaceAllString(strings.Join(r.segments, "/"), "{}"))
		}
	}
	slices.Sort(documented)
	slices.Sort(routes)
	if !slices.Equal(documented, routes) {
		t.Errorf("docs/push-api.md has\n%q\nthe API has\n%q", documented, routes)
	}
}
