package testdocs

import (
	"slices"
	"testing"
)

const text = "# A `b` page: 1, 2\n" +
	"See [x](y.md#z) and `[no](link)`, `pushcart run` and ``a`b``.\n" +
	"```sh terminal=2 until=\"is up\"\n# not a heading\nrun\n```\n" +
	"## Twice\n\n- a list\n  ```yaml a.yaml\n  a:\n    b: `c`\n  ```\n" +
	"```sh norun: it needs a second machine\nrun\n```\n" +
	"## Twice\n| h | i |\n|---|---|\n| `a\\|b` | c |\n\n### below\nlast\n# Other\n"

func TestParse_TellsBlocksFromProse(t *testing.T) {
	p := Parse("docs/a.md", text)
	if len(p.Blocks) != 3 {
		t.Fatalf("got %+v", p.Blocks)
	}
	run, file, not := p.Blocks[0], p.Blocks[1], p.Blocks[2]
	if !run.Commands() || run.Option("terminal") != "2" || run.Option("until") != "is up" || run.Option("x") != "" ||
		run.Text != "# not a heading\nrun\n" || run.File() != "" || run.Unused() != "" || run.Where() != "docs/a.md:3" {
		t.Errorf("got %+v", run)
	}
	if file.File() != "a.yaml" || file.Text != "a:\n  b: `c`\n" || file.Commands() {
		t.Errorf("got %+v", file)
	}
	if not.Unused() != "it needs a second machine" || not.File() != "" {
		t.Errorf("got %+v", not)
	}
}

func TestPage_FindsWhatIsInItsLines(t *testing.T) {
	p := Parse("docs/a.md", text)
	f := func(what string, got, want any) {
		t.Helper()
		if g, w := got.([]Span), want.([]Span); !slices.Equal(g, w) {
			t.Errorf("%s: got %v, want %v", what, g, w)
		}
	}
	f("code", p.Code(), []Span{{1, "b"}, {2, "[no](link)"}, {2, "pushcart run"}, {2, "a`b"}, {20, "a|b"}})
	f("what is ours", Parse("docs/coming-from/a.md", "| `a` | `b` |\n`c`").Code(), []Span{{1, "b"}, {2, "c"}})
	f("links", p.Links(), []Span{{2, "y.md#z"}})
	if got := p.Anchors(); !slices.Equal(got, []string{"a-b-page-1-2", "twice", "twice-1", "below", "other"}) {
		t.Errorf("anchors: got %q", got)
	}
	if got := p.Rows(); len(got) != 1 || !slices.Equal(got[0], []string{"`a|b`", "c"}) {
		t.Errorf("rows: got %q", got)
	}
	if got := Parse("a.md", "# A\nx\n## B\ny\n### C\nz\n## D\n").Section("B"); got != "y\n### C\nz\n" {
		t.Errorf("section: got %q", got)
	}
}
