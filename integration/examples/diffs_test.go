package examples

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// diff is how two files of examples/ differ, as a README in folder shows it.
func diff(t *testing.T, folder, from, to string) string {
	t.Helper()
	cmd := exec.Command("diff", "-U2", "--label", from, "--label", to, from, to)
	cmd.Dir = root + "examples/" + folder
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatal(err)
	}
	return string(out)
}

// TestReadmes_ShowWhatChanged holds each README to the files; with
// PUSHCART_UPDATE_DOCS=1 it puts what the files are into the README.
func TestReadmes_ShowWhatChanged(t *testing.T) {
	for _, l := range languages {
		name := "examples/" + l.name + "/README.md"
		page := read(t, name)
		shown := regexp.MustCompile("(?s)\n```(diff|yaml)\n(.*?)```")
		want := []string{
			diff(t, l.name, "../legacy/"+l.name+"/"+l.app, l.app),
			read(t, "examples/"+l.name+"/pushcart.yaml"),
			diff(t, l.name, "../legacy/page/index.html", "../page/index.html"),
		}
		n := 0
		page = shown.ReplaceAllStringFunc(page, func(block string) string {
			if n == len(want) {
				return block
			}
			m := shown.FindStringSubmatch(block)
			if m[2] != want[n] && os.Getenv("PUSHCART_UPDATE_DOCS") == "" {
				t.Errorf("%s shows\n%s\nbut the files say\n%s", name, m[2], want[n])
			}
			n++
			return "\n```" + m[1] + "\n" + want[n-1] + "```"
		})
		if n != len(want) {
			t.Errorf("%s has %d of 3 blocks", name, n)
		}
		if os.Getenv("PUSHCART_UPDATE_DOCS") != "" {
			if err := os.WriteFile(root+name, []byte(page), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// files are those below a folder of examples/, less those of npm and of the apps as
// they were.
func files(t *testing.T, folder string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		rel, _ := filepath.Rel(folder, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (rel == "legacy" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case !d.IsDir():
			all = append(all, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Nothing differs between the apps as they were and as they are but what the READMEs
// show and name.
func TestExamples_ChangeNothingElse(t *testing.T) {
	were := files(t, root+"examples/legacy")
	told := []string{"README.md", "express/package-lock.json"}
	changed := []string{"page/index.html"}
	for _, l := range languages {
		for _, name := range []string{"README.md", "pushcart.yaml", l.verify} {
			told = append(told, l.name+"/"+name)
		}
		changed = append(changed, l.name+"/"+l.app)
	}
	for _, name := range files(t, root+"examples") {
		switch {
		case slices.Contains(told, name):
		case !slices.Contains(were, name):
			t.Errorf("%s is new, and no README names it", name)
		case !slices.Contains(changed, name) && read(t, "examples/"+name) != read(t, "examples/legacy/"+name):
			t.Errorf("%s has changed, and no README shows it", name)
		}
	}
}

// What is the same in all languages, and in the docs, is the same text.
func TestExamples_CopiesAreEqual(t *testing.T) {
	for _, l := range languages {
		if first := languages[0].name; read(t, "examples/"+l.name+"/pushcart.yaml") != read(t, "examples/"+first+"/pushcart.yaml") {
			t.Errorf("pushcart.yaml of %s differs from that of %s", l.name, first)
		}
		want := block(t, "docs/webhooks.md", l.language, 0)
		if l.language == "php" {
			want = "<?php\n" + want
		}
		if got := read(t, "examples/"+l.name+"/"+l.verify); got != want {
			t.Errorf("%s/%s is\n%s\nbut docs/webhooks.md has\n%s", l.name, l.verify, got, want)
		}
	}
	if live := liveLines(t); !strings.Contains(read(t, "examples/page/index.html"), live) {
		t.Errorf("the page does not have the README's\n%s", live)
	}
}

func TestReadmes_LinksLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob(root + "examples/*/README.md")
	if err != nil || len(pages) != len(languages) {
		t.Fatalf("%v, %q", err, pages)
	}
	for _, page := range append(pages, root+"examples/README.md") {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)`).FindAllSubmatch(b, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), string(m[1]))); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}
