package proxy

import (
	"net"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/testkit"
)

// What is armed after a long sleep of the watcher must get all of its time, and no
// more than that.
func TestWatcher_SleepsWhileThereIsNobody(t *testing.T) {
	w := newWatcher()
	defer w.close()
	for range 3 {
		testkit.Eventually(t, "the watcher sleeps", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.asleep
		})
		w.now.Store(1) // as if it had been for long
		w.begin = time.Now().Add(-time.Hour)
		a, b := net.Pipe()
		x := w.add(a)
		const d = 300 * time.Millisecond
		began := time.Now()
		w.arm(x, d)
		_, err := a.Read(make([]byte, 1))
		if took := time.Since(began); err == nil || !x.expired.Load() || took < d-2*watchStep {
			t.Errorf("cut off after %v with %v, want %v", took, err, d)
		}
		w.remove(x)
		_, _ = a.Close(), b.Close()
	}
}
