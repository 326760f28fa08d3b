package house

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/testdocs"
)

// TestPages_LinksLeadSomewhere: files and headings that a page links to are there.
func TestPages_LinksLeadSomewhere(t *testing.T) {
	root := testdocs.Root(t)
	anchors := map[string][]string{}
	for _, page := range testdocs.Pages(t) {
		anchors[page.Name] = page.Anchors()
	}
	for _, page := range testdocs.Pages(t) {
		for _, link := range page.Links() {
			if strings.Contains(link.Text, "://") {
				continue
			}
			file, anchor, _ := strings.Cut(link.Text, "#")
			to := page.Name
			if file != "" {
				to = path.Join(path.Dir(page.Name), file)
			}
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(to))); err != nil {
				t.Errorf("%s:%d: %s is not there", page.Name, link.Line, link.Text)
			} else if anchor != "" && !slices.Contains(anchors[to], anchor) {
				t.Errorf("%s:%d: %s has no heading #%s", page.Name, link.Line, to, anchor)
			}
		}
	}
}

// TestPages_AreFoundFromTheReadme: a reader comes to every page by links, and to the
// start pages from the README itself.
func TestPages_AreFoundFromTheReadme(t *testing.T) {
	pages := map[string]testdocs.Page{}
	for _, page := range testdocs.Pages(t) {
		pages[page.Name] = page
	}
	distance := map[string]int{"README.md": 0}
	for queue := []string{"README.md"}; len(queue) > 0; queue = queue[1:] {
		for _, link := range pages[queue[0]].Links() {
			file, _, _ := strings.Cut(link.Text, "#")
			to := path.Join(path.Dir(queue[0]), file)
			if _, known := distance[to]; !known && pages[to].Name != "" {
				distance[to] = distance[queue[0]] + 1
				queue = append(queue, to)
			}
		}
	}
	for name := range pages {
		most := 2 // clicks
		if strings.HasPrefix(name, "docs/start/") || name == "docs/README.md" {
			most = 1
		}
		if d, ok := distance[name]; !ok || d > most && strings.HasPrefix(name, "docs/") && !strings.HasPrefix(name, "docs/coming-from/") {
			t.Errorf("%s is %d links from the README (0: none lead there), want at most %d", name, d, most)
		}
	}
}
