package integration

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// tool is a command that runs beside the test.
type tool struct {
	*exec.Cmd
	in        io.WriteCloser
	out, errs testkit.Log
}

func startTool(t *testing.T, args ...string) *tool {
	t.Helper()
	c := &tool{Cmd: sidecartest.Tool(args...)}
	c.Dir = t.TempDir()
	c.Stdout, c.Stderr = &c.out, &c.errs
	var err error
	if c.in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.ProcessState == nil {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	})
	return c
}

// end waits for its exit code.
func (c *tool) end() int {
	_ = c.Wait()
	return c.ProcessState.ExitCode()
}

// Ctrl-C ends pushcart listen in order, while its input is still open: 1000 to the
// server, exit 0.
func TestListen_CtrlCEndsIt(t *testing.T) {
	s := sidecartest.Start(t, anonymous)
	c := startTool(t, "listen", "ws://"+s.Public+"/_push")
	c.errs.Await(t, "connected to")
	s.Pushed(t, `{"to":{"all":true},"text":"before the end"}`)
	c.out.Await(t, "before the end")
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := c.end(); code != 0 {
		t.Errorf("exit %d %s", code, &c.errs)
	}
	testkit.Eventually(t, "the connection is gone", func() bool {
		_, text := call(t, "GET", "http://"+s.Admin+"/metrics", "", "")
		return strings.Contains(text, `pushcart_disconnects_total{cause="client"} 1`)
	})
}

// A signal also ends a tool that waits for an answer.
func TestPush_CtrlCEndsIt(t *testing.T) {
	silent := testkit.Listen(t)
	defer silent.Close()
	c := startTool(t, "push", "--address", silent.Addr().String(), "--token", "t", "--all", "x")
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := c.end(); code != 1 || c.errs.String() != "pushcart: interrupted\n" {
		t.Errorf("exit %d %s", code, &c.errs)
	}
}

// words is what the script takes from the package bash-completion; on machines without
// it the test brings this one.
const words = `declare -F _get_comp_words_by_ref >/dev/null || _get_comp_words_by_ref() {
  cur=${COMP_WORDS[COMP_CWORD]}; prev=${COMP_WORDS[COMP_CWORD-1]}; words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD
}
compopt() { :; } # works only while a key is being handled
`

// TestCompletion_WorksInBash sources the script in a real bash and asks it as the tab
// key does.
func TestCompletion_WorksInBash(t *testing.T) {
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	if err := os.Symlink(sidecartest.Binary(), filepath.Join(dir, "pushcart")); err != nil {
		t.Fatal(err)
	}
	script := words + `
for package in /usr/share/bash-completion/bash_completion /opt/homebrew/etc/bash_completion; do
  [ ! -r $package ] || . $package
done
. <(pushcart completion bash)
try() {
  COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9; COMPREPLY=()
  $(complete -p pushcart | sed 's/.*-F \([^ ]*\).*/\1/')
  printf '%s: %s\n' "$*" "${COMPREPLY[*]}"
}
try pushcart li
try pushcart config s
try pushcart listen --proto
try pushcart listen --protocol ""
try pushcart completion z
`
	cmd := exec.Command("bash", "--norc", "-c", script)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	want := "pushcart li: listen\npushcart config s: schema\npushcart listen --proto: --protocol\n" +
		"pushcart listen --protocol : raw json\npushcart completion z: zsh\n"
	if err != nil || string(out) != want || errs.Len() > 0 {
		t.Errorf("%v\ngot\n%s%s\nwant\n%s", err, out, errs.String(), want)
	}
}
