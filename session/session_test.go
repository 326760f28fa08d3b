package session

import (
	"testing"
	"time"
)

// An end in the past is an end: an answer with expires_at 0 must not mean never.
func TestSession_ExpiresAtWhateverMomentIsNamed(t *testing.T) {
	f := func(at, want time.Time) {
		t.Helper()
		var s Session
		s.ExpireAt(at)
		if got := s.Expires(); !got.Equal(want) {
			t.Errorf("expire at %v: got %v, want %v", at, got, want)
		}
	}
	f(time.Time{}, time.Time{})
	f(time.Unix(0, 0), time.Unix(1, 0))
	f(time.Unix(-5, 0), time.Unix(1, 0))
	f(time.Unix(1_800_000_000, 0), time.Unix(1_800_000_000, 0))
	f(time.Unix(1_800_000_000, 1), time.Unix(1_800_000_001, 0))
	f(time.Unix(1<<32, 0), time.Time{})
	f(time.Unix(1<<40, 0), time.Time{})
}
