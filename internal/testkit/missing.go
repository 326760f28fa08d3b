package testkit

import (
	"os"
	"testing"
)

// Missing skips a test for what this machine does not have. CI has everything and sets
// PUSHCART_TEST_ALL: there the test fails.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("PUSHCART_TEST_ALL") != "" {
		t.Fatalf("missing: %s", what)
	}
	t.Skipf("missing: %s; .ci/run has it", what)
}
