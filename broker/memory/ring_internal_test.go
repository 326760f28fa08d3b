package memory

import (
	"math/rand/v2"
	"testing"
	"time"
)

// The ring against a slice that does the same.
func TestRing_IsAQueueOfTheSizeOfItsMessages(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, most := range []int{1, 2, 3, 10, 1000} {
		var got ring
		var want []time.Duration
		for step := range time.Duration(20_000) {
			// It swings between empty and full.
			if fill := step/3000%2 == 0; len(want) < most && (len(want) == 0 || fill == (r.IntN(10) < 9)) {
				got.push(keptMessage{at: step}, most)
				want = append(want, step)
			} else {
				if m := got.pop(); m.at != want[0] {
					t.Fatalf("most %d, step %d: popped %d, want %d", most, step, m.at, want[0])
				}
				want = want[1:]
			}
			if got.n != len(want) || len(got.slots) > most || len(got.slots) > max(1, 4*got.n) {
				t.Fatalf("most %d, step %d: %d of %d messages in %d slots", most, step, got.n, len(want), len(got.slots))
			}
			for i, at := range want {
				if got.get(i).at != at {
					t.Fatalf("most %d, step %d: message %d is %d, want %d", most, step, i, got.get(i).at, at)
				}
			}
			for i := got.n; i < len(got.slots); i++ {
				if got.get(i).at != 0 {
					t.Fatalf("most %d, step %d: a free slot holds on to a message", most, step)
				}
			}
		}
	}
}
