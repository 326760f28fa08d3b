package docs

import (
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/testdocs"
	"github.com/pushcart/pushcart/internal/testkit"
)

// TestPages_PushInThreeLanguages runs the few lines with which an app pushes.
func TestPages_PushInThreeLanguages(t *testing.T) {
	page := testdocs.Read(t, "docs/start/app-developers.md")
	run := map[string][]string{"js": {"node", "push.mjs"}, "python": {"python3", "push.py"}, "php": {"php", "push.php"}}
	found := 0
	for _, b := range page.Blocks {
		command := run[b.Language]
		if command == nil || !strings.Contains(b.Text, "/v1/push") {
			continue
		}
		found++
		t.Run(b.Language, func(t *testing.T) {
			needs(t, command[0])
			ownNetwork(t)
			r := newReader(t, page)
			r.save(testdocs.Block{Info: "pushcart.yaml", Text: "backend: {url: \"http://127.0.0.1:3000\"}\nauth: {jwt: {secret: " + strings.Repeat("s", 32) + "}}\n"})
			r.open(testdocs.Block{Info: `terminal=pushcart until="pushcart started"`, Text: "pushcart run\n"})
			r.open(testdocs.Block{Info: `terminal=client until="connected to"`, Text: "pushcart listen --user 42\n"})
			r.save(testdocs.Block{Info: command[1], Text: b.Text})
			if out, err := r.run("set -e\n" + strings.Join(command, " ")); err != nil {
				t.Fatalf("%s: %v\n%s", b.Where(), err, out)
			}
			testkit.Eventually(t, "the push arrives", func() bool {
				return strings.Contains(squeeze(r.terminals["client"].out.String()), `{"order":7}`)
			})
		})
	}
	if found != len(run) {
		t.Errorf("%d of %d languages found", found, len(run))
	}
}
