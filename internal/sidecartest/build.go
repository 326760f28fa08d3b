package sidecartest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/race"
)

// binary is pushcart, with the race detector if the tests have it.
var binary string

// Late is how much later than it was promised something may come: what looks is not that
// exact, and with the race detector all take a multiple.
func Late(promised time.Duration) time.Duration {
	if race.Enabled {
		return 4*promised + time.Second
	}
	return promised + time.Second
}

// Build builds pushcart of the tree at root, runs the tests, and returns their exit code.
func Build(m *testing.M, root string) int {
	dir, err := os.MkdirTemp("", "pushcart-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "pushcart")
	cmd := exec.Command("go", "build", fmt.Sprintf("-race=%v", race.Enabled), "-o", binary, filepath.Join(root, "cmd", "pushcart"))
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build pushcart:", err)
		return 1
	}
	return m.Run()
}
