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

// binary is the path of pushcart.
var binary string

// Late is how much later than it was promised something may come: what looks is not that
// exact, and with the race detector all take a multiple.
func Late(promised time.Duration) time.Duration {
	if race.Enabled {
		return 4*promised + time.Second
	}
	return promised + time.Second
}

// Binary is the path of pushcart.
func Binary() string { return binary }

// Build builds pushcart of the tree at root, with the race detector if the tests have it,
// runs the tests, and returns their exit code.
func Build(m *testing.M, root string) int { return build(m, root, race.Enabled) }

// BuildPlain is Build without the race detector: as users have it.
func BuildPlain(m *testing.M, root string) int { return build(m, root, false) }

func build(m *testing.M, root string, detect bool) int {
	dir, err := os.MkdirTemp("", "pushcart-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "pushcart")
	cmd := exec.Command("go", "build", fmt.Sprintf("-race=%v", detect), "-o", binary, filepath.Join(root, "cmd", "pushcart"))
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build pushcart:", err)
		return 1
	}
	return m.Run()
}
