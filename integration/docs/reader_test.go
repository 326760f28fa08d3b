package docs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/testdocs"
	"github.com/pushcart/pushcart/internal/testkit"
)

// patience is how long a block may take. It is used up only where a test fails.
const patience = 30 * time.Second

// reader is somebody with a page, an empty directory and some terminals.
type reader struct {
	t         *testing.T
	notes     string // directory: what the main terminal's shell knows
	env       []string
	terminals map[string]*terminal
}

// newReader begins in a directory of their own, or in a clone where the page builds.
func newReader(t *testing.T, page testdocs.Page) *reader {
	t.Helper()
	home, notes := t.TempDir(), t.TempDir()
	r := &reader{t: t, notes: notes, terminals: map[string]*terminal{}, env: append(append(os.Environ(), caches...),
		"HOME="+home, "PATH="+filepath.Join(clone, "bin")+":"+os.Getenv("PATH"), "TMPDIR="+t.TempDir())}
	start := home
	if slices.ContainsFunc(page.Blocks, func(b testdocs.Block) bool { return strings.Contains(b.Text, "make build\n") }) {
		start = filepath.Join(home, "pushcart")
		if err := copyTree(clone, start); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(notes, "directory"), []byte(start+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(page.Blocks, func(b testdocs.Block) bool { return b.Option("terminal") == "app" }) {
		startApp(t)
	}
	return r
}

func (r *reader) workingDirectory() string {
	r.t.Helper()
	dir, err := os.ReadFile(filepath.Join(r.notes, "directory"))
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(string(dir))
}

// shell is bash with what earlier blocks exported. The main terminal's notes what it
// leaves.
func (r *reader) shell(ctx context.Context, script string, main bool) *exec.Cmd {
	before := fmt.Sprintf("[ ! -f %[1]s/env ] || . %[1]s/env; cd \"$(cat %[1]s/directory)\"\n", r.notes)
	after := ""
	if main {
		after = fmt.Sprintf("\nexport -p > %[1]s/env; pwd > %[1]s/directory\n", r.notes)
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", before+script+after)
	cmd.Env = r.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// enter types a block into the main terminal: every command has to succeed, and JSON
// that the page shows behind # has to come.
func (r *reader) enter(b testdocs.Block) {
	r.t.Helper()
	out, err := r.run("set -e\n" + b.Text)
	if err != nil {
		r.t.Fatalf("%s: %v\n%s\nprinted\n%s%s", b.Where(), err, b.Text, out, r.screens())
	}
	r.compare(b, shownJSON(b.Text), squeeze(out))
}

func (r *reader) run(script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := r.shell(ctx, script, true).CombinedOutput()
	return string(out), err
}

// shownJSON are the answers in the comments of a block, without white space.
func shownJSON(text string) (all []string) {
	going := false
	for line := range strings.Lines(text) {
		comment, is := strings.CutPrefix(line, "# ")
		switch {
		case is && strings.HasPrefix(comment, "{"):
			all = append(all, squeeze(comment))
			going = true
		case is && going:
			all[len(all)-1] += squeeze(comment)
		default:
			going = false
		}
	}
	return all
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), "") }

// converse types commands one after the other; each has to print what the page shows
// below it.
func (r *reader) converse(b testdocs.Block) {
	r.t.Helper()
	for turn := range strings.SplitSeq("\n"+strings.TrimSpace(b.Text), "\n$ ") {
		if turn == "" {
			continue
		}
		command, shown, _ := strings.Cut(turn, "\n")
		out, err := r.run(command)
		if err != nil && b.Option("exit") == "" {
			r.t.Errorf("%s: %s: %v", b.Where(), command, err)
		}
		if !regexp.MustCompile(`(?s)^` + pattern(shown) + `\s*$`).MatchString(normal(out)) {
			r.t.Errorf("%s: %s\nprinted\n%s\nthe page shows\n%s%s", b.Where(), command, out, shown, r.screens())
		}
	}
}

// compare wants lines that a page shows, in their order.
func (r *reader) compare(b testdocs.Block, shown []string, out string) {
	r.t.Helper()
	rest := normal(out)
	for _, line := range shown {
		at := regexp.MustCompile(pattern(line)).FindStringIndex(rest)
		if at == nil {
			r.t.Fatalf("%s: the page shows\n%s\nnot found in\n%s%s", b.Where(), line, rest, r.screens())
		}
		rest = rest[at[1]:]
	}
}

// varying is what differs from one time to the next.
var varying = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[78][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|\+00:00)`), "TIME"},
	{regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d\.\d{3}`), "CLOCK"},
	{regexp.MustCompile(`"epoch":"[^"]+"`), "EPOCH"},
	{regexp.MustCompile(`\b[0-9a-v]{13}-[0-9a-v]{13}\b`), "CONNECTION"},
	{regexp.MustCompile(`\b[0-9a-v]{13}\b`), "NODE"},
}

func normal(s string) string {
	for _, v := range varying {
		s = v.pattern.ReplaceAllString(s, v.name)
	}
	return s
}

var abbreviated = regexp.MustCompile(`\b[0-9a-v]{2,}…`) // an id

// pattern is what a page shows as a regular expression: … stands for anything, and any
// number of spaces for one.
func pattern(shown string) string {
	p := regexp.QuoteMeta(normal(abbreviated.ReplaceAllString(strings.TrimSpace(shown), "…")))
	p = regexp.MustCompile(` +`).ReplaceAllString(p, " +")
	return strings.ReplaceAll(p, "…", ".*?")
}

// terminal is one in which a program runs.
type terminal struct {
	cmd    *exec.Cmd
	out    testkit.Log
	exited chan struct{} // closed when it ended
	seen   int           // how much of its output the page has shown
}

// open types a block into a terminal of its own, where what ran before is ended with
// Ctrl-C, and waits until it says what the block expects.
func (r *reader) open(b testdocs.Block) {
	r.t.Helper()
	name := b.Option("terminal")
	if old := r.terminals[name]; old != nil {
		old.interrupt(r.t)
	}
	term := &terminal{cmd: r.shell(r.t.Context(), "set -e\n"+b.Text, false), exited: make(chan struct{})}
	term.cmd.Stdout, term.cmd.Stderr = &term.out, &term.out
	if err := term.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() { _ = term.cmd.Wait(); close(term.exited) }()
	if r.terminals[name] == nil {
		r.t.Cleanup(func() { r.terminals[name].interrupt(r.t) })
	}
	r.terminals[name] = term
	until := b.Option("until")
	if until == "" {
		r.t.Fatalf("%s: say until=\"what it prints when it is ready\"", b.Where())
	}
	testkit.Eventually(r.t, b.Where()+" prints "+until, func() bool {
		select {
		case <-term.exited:
			if !strings.Contains(term.out.String(), until) {
				r.t.Fatalf("%s: it ended%s", b.Where(), r.screens())
			}
		default:
		}
		return strings.Contains(term.out.String(), until)
	})
}

// interrupt presses Ctrl-C.
func (term *terminal) interrupt(t *testing.T) {
	t.Helper()
	_ = syscall.Kill(-term.cmd.Process.Pid, syscall.SIGINT)
	select {
	case <-term.exited:
	case <-time.After(patience):
		_ = syscall.Kill(-term.cmd.Process.Pid, syscall.SIGKILL)
		<-term.exited
		t.Errorf("Ctrl-C did not end %q:\n%s", term.cmd.Args, term.out.String())
	}
}

// look waits until another terminal shows what the page says that it does.
func (r *reader) look(b testdocs.Block) {
	r.t.Helper()
	term := r.terminals[b.Option("terminal")]
	if term == nil {
		r.t.Fatalf("%s: no such terminal", b.Where())
	}
	lines := strings.Split(strings.TrimSpace(b.Text), "\n")
	for i := range lines {
		lines[i] = pattern(lines[i])
	}
	wanted := regexp.MustCompile("(?s)" + strings.Join(lines, ".*?\n.*?"))
	if !testkit.Until(func() bool { return wanted.MatchString(normal(term.out.String()[term.seen:])) }) {
		r.t.Fatalf("%s: the page shows\n%s%s", b.Where(), b.Text, r.screens())
	}
	term.seen = len(term.out.String())
}

// screens are all terminals, for the report of a failure.
func (r *reader) screens() string {
	var b bytes.Buffer
	for name, term := range r.terminals {
		fmt.Fprintf(&b, "\n\nterminal %s:\n%s", name, term.out.String())
	}
	return b.String()
}
