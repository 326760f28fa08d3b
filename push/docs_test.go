package push

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/hub/hubtest"
	"github.com/pushcart/pushcart/internal/testdocs"
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

// TestDocs_PushesAreTaken: each push on a page, in a block or within a line, is one that
// the API takes. So is what a page shows as the body of another call.
func TestDocs_PushesAreTaken(t *testing.T) {
	api := serve(t, hubtest.Alone(t))
	pushes := 0
	take := func(where, body string) {
		t.Helper()
		pushes++
		if r := api.call("POST", "/v1/push", body); r.status != http.StatusOK {
			t.Errorf("%s: %s: %d %s", where, body, r.status, r.body)
		}
	}
	for _, page := range testdocs.Pages(t) {
		for _, span := range page.Code() {
			where := fmt.Sprintf("%s:%d", page.Name, span.Line)
			switch body := span.Text; {
			case strings.Contains(body, "…"):
			case strings.HasPrefix(body, `{"to":`), strings.HasPrefix(body, `{"pushes":`):
				take(where, body)
			case strings.HasPrefix(body, `{"code":`):
				if r := api.call("POST", "/v1/users/42/disconnect", body); r.status != http.StatusOK {
					t.Errorf("%s: %s: %d %s", where, body, r.status, r.body)
				}
			}
		}
		for _, b := range page.Blocks {
			switch b.Language + " " + b.Info {
			case "json push":
				take(b.Where(), b.Text)
			case "json event":
				d := json.NewDecoder(strings.NewReader(b.Text))
				d.DisallowUnknownFields()
				if err := d.Decode(new(outboxEvent)); err != nil {
					t.Errorf("%s: %v", b.Where(), err)
				}
			}
		}
	}
	if pushes < 10 {
		t.Errorf("only %d pushes found", pushes)
	}
}

// TestDocs_CallsAreRoutes: a call that a page names is one of the API's.
func TestDocs_CallsAreRoutes(t *testing.T) {
	a := newAPI(t, hubtest.Alone(t))
	named := 0
	call := regexp.MustCompile(`^(GET|POST|PUT|PATCH|DELETE) (/v1/[^ ?]*)`)
	for _, page := range testdocs.Pages(t) {
		for _, span := range page.Code() {
			m := call.FindStringSubmatch(span.Text)
			if m == nil || page.Name == "CHANGELOG.md" {
				continue
			}
			named++
			if !slices.ContainsFunc(a.routes, func(r route) bool { return r.methods[m[1]] != nil && fitsRoute(r.segments, m[2]) }) {
				t.Errorf("%s:%d: %s is no call", page.Name, span.Line, span.Text)
			}
		}
	}
	if named < 30 {
		t.Errorf("only %d calls found", named)
	}
}

func fitsRoute(segments []string, path string) bool {
	got := strings.Split(path, "/")
	if len(got) != len(segments) {
		return false
	}
	for i, want := range segments {
		if !strings.HasPrefix(want, "{") && got[i] != want {
			return false
		}
	}
	return true
}
