package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/testdocs"
	"github.com/pushcart/pushcart/internal/testkit"
)

// TestPages_DoWhatTheySay works through every page that has something to type.
func TestPages_DoWhatTheySay(t *testing.T) {
	typed := 0
	for _, page := range testdocs.Pages(t) {
		if !slices.ContainsFunc(page.Blocks, typable) || strings.HasPrefix(page.Name, "examples/") {
			continue // integration/examples types those
		}
		typed++
		t.Run(page.Name, func(t *testing.T) {
			ownNetwork(t)
			newReader(t, page).read(page)
		})
	}
	if typed < 3 {
		t.Errorf("only %d pages have something to type", typed)
	}
}

func typable(b testdocs.Block) bool { return b.Commands() && b.Unused() == "" }

// TestPages_MarkTheirBlocks: what is to be typed is in a block of sh or console, and
// one that nobody runs says why.
func TestPages_MarkTheirBlocks(t *testing.T) {
	for _, page := range testdocs.Pages(t) {
		for _, b := range page.Blocks {
			switch {
			case strings.Contains(b.Info, "norun") && len(b.Unused()) < 10:
				t.Errorf("%s: write norun: and the reason", b.Where())
			case slices.Contains([]string{"bash", "shell", "zsh", "shell-session"}, b.Language):
				t.Errorf("%s: call it sh, or console where output is shown", b.Where())
			case b.Language == "json" && b.Unused() == "" && !slices.Contains([]string{"push", "connect", "resume", "event"}, b.Info):
				t.Errorf("%s: say which JSON it is, so that a test looks at it: push, connect, resume or event", b.Where())
			case b.Language != "console" && strings.HasPrefix(b.Text, "$ "):
				t.Errorf("%s: call it console", b.Where())
			}
		}
	}
}

// read types and compares, block by block.
func (r *reader) read(page testdocs.Page) {
	r.t.Helper()
	for _, b := range page.Blocks {
		if b.Unused() != "" || r.t.Failed() {
			continue
		}
		needs(r.t, b.Option("needs"))
		switch {
		case b.File() != "":
			r.save(b)
		case b.Language == "sh" && b.Option("terminal") != "":
			r.open(b)
		case b.Language == "sh":
			r.enter(b)
		case b.Language == "console":
			r.converse(b)
		case b.Option("terminal") != "":
			r.look(b)
		}
	}
}

// needs skips the rest of a page where a program is missing. CI installs all of them
// and sets PUSHCART_TEST_ALL.
func needs(t *testing.T, program string) {
	t.Helper()
	if program == "" {
		return
	}
	if _, err := exec.LookPath(program); err != nil {
		testkit.Missing(t, program)
	}
}

// save writes a block that is a file.
func (r *reader) save(b testdocs.Block) {
	r.t.Helper()
	file := filepath.Join(r.workingDirectory(), b.File())
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(b.Text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}
