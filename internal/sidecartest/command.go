package sidecartest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// defaults are the sections that a configuration gets where it has none: listeners on free
// ports, a log that Run can read, an app that is away, and an end that does not wait long.
var defaults = []struct{ section, value string }{
	{"listen", "127.0.0.1:0"},
	{"push", "{listen: '127.0.0.1:0'}"},
	{"admin", "{listen: '127.0.0.1:0'}"},
	{"backend", "{url: 'http://127.0.0.1:1'}"},
	{"log", "{format: json}"},
	{"shutdown", "{drain: 1s}"},
}

// Complete is a configuration with what a test needs where it says nothing else.
func Complete(yaml string) string {
	for _, d := range defaults {
		if !strings.Contains("\n"+yaml, "\n"+d.section+":") {
			yaml += "\n" + d.section + ": " + d.value
		}
	}
	return yaml + "\n"
}

// Command is pushcart with a configuration, which is completed.
func Command(t testing.TB, yaml string) *exec.Cmd {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pushcart.yaml")
	if err := os.WriteFile(file, []byte(Complete(yaml)), 0o600); err != nil {
		t.Fatal(err)
	}
	return Tool("run", "--config", file)
}

// Tool is pushcart with arguments.
func Tool(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	return cmd
}

// Wrap is a command with others before it, which must exec it.
func Wrap(cmd *exec.Cmd, before ...string) *exec.Cmd {
	if len(before) == 0 {
		return cmd
	}
	args := append(before[:len(before):len(before)], cmd.Args...)
	within := exec.Command(args[0], args[1:]...)
	within.Env, within.Dir = cmd.Env, cmd.Dir
	return within
}
