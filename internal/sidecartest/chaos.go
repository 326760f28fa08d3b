package sidecartest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/race"
)

// Chaos is how long tests that break things go on: make chaos
// sets PUSHCART_CHAOS. It is 0 in make test, where they take a short form.
func Chaos() time.Duration {
	text := os.Getenv("PUSHCART_CHAOS")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		panic(fmt.Sprintf("PUSHCART_CHAOS: want a time like 60s, got %q", text))
	}
	return d
}

// Here says whether what runs once in make test runs here: without the race detector,
// and in make chaos as make chaos wants.
func Here() bool { return !race.Enabled || Chaos() > 0 }

// Once skips a test that lasts long and is the same with the race detector, where it does
// not run; see Here.
func Once(t testing.TB) {
	t.Helper()
	if !Here() {
		t.Skip("runs without the race detector in make test, and in make chaos")
	}
}
