package webhook

import (
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
)

// TestBackoff_NeverWraps: a retry.min of a minute shifted by 28 tries was negative,
// and those tries came at once.
func TestBackoff_NeverWraps(t *testing.T) {
	f := func(least, most time.Duration) {
		t.Helper()
		cfg := testConfig("http://backend.test")
		cfg.Retry = config.Retry{Min: least, Max: most}
		q := newDispatcher(t, cfg).queue
		for _, tries := range []int{1, 2, 5, 20, 28, 29, 30, 31, 60, 64, 1000} {
			limit := most
			if n := tries - 1; n < 12 && least<<n < most {
				limit = least << n
			}
			var longest time.Duration
			for range 200 {
				longest = max(longest, q.backoff(tries))
			}
			if longest > limit+1 || longest < limit/2 {
				t.Errorf("%v to %v, try %d: at most %v, want about %v", least, most, tries, longest, limit)
			}
		}
	}
	f(500*time.Millisecond, time.Minute)
	f(time.Minute, 10*time.Minute)
	f(time.Hour, 24*time.Hour)
	f(24*time.Hour, 10*365*24*time.Hour)
}
