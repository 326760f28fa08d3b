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

// WithoutRace says whether what OnceWithoutRace is called for runs here.
func WithoutRace() bool { return !race.Enabled || Chaos() > 0 }

// OnceWithoutRace is for a test that lasts long and is the same with the race detector: in
// make test, which runs this package with and without, it is skipped with it. In make chaos
// it runs as make chaos wants.
func OnceWithoutRace(t testing.TB) {
	t.Helper()
	if !WithoutRace() {
		t.Skip("runs without the race detector in make test, and in make chaos")
	}
}

// OnceWithRace is for a test that lasts long and finds nothing more without the race
// detector: in make test it is skipped without.
func OnceWithRace(t testing.TB) {
	t.Helper()
	if !race.Enabled && Chaos() == 0 {
		t.Skip("runs with the race detector in make test (go test -race), and in make chaos")
	}
}
