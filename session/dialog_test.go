package session

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pushcart/pushcart/webhook"
)

// Requests come, are asked, carried out and answered in any order that is allowed: what is
// about one channel begins in the order in which it came, one question is asked at a time,
// and one history read.
func TestDialog_KeepsWhatHasAnOrder(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		d := &dialog{}
		names := map[*request]string{}
		var asked, acting []*request
		began := map[string][]int{}
		var lastAsked, added int
		for step := 0; step < 200; step++ {
			switch n := rnd.IntN(4); {
			case n == 0 && len(d.pending) < 8:
				r := &request{channel: []string{"", "a", "b"}[rnd.IntN(3)], reads: reading(max(0, rnd.IntN(6)-3))}
				if rnd.IntN(2) == 0 {
					r.question = &question{}
				}
				added++
				names[r] = fmt.Sprint(added)
				if reached, ok := d.add(r, 8); !ok || reached != (len(d.pending) == 8) {
					t.Fatalf("seed %d: add: %v %v with %d", seed, reached, ok, len(d.pending))
				}
			case n == 1:
				r := d.next()
				switch {
				case r == nil:
				case r.stage == stageAsking:
					var n int
					if _, err := fmt.Sscan(names[r], &n); err != nil || n < lastAsked || len(asked) > 0 {
						t.Fatalf("seed %d: %s is asked after %d, with %d others", seed, names[r], lastAsked, len(asked))
					}
					lastAsked, asked = n, append(asked, r)
				default:
					for _, other := range acting {
						if r.channel != "" && other.channel == r.channel || r.reads != readsNothing && r.reads == other.reads {
							t.Fatalf("seed %d: %s begins beside %s", seed, names[r], names[other])
						}
					}
					var n int
					_, _ = fmt.Sscan(names[r], &n)
					if before := began[r.channel]; r.channel != "" && len(before) > 0 && before[len(before)-1] > n {
						t.Fatalf("seed %d: %d of channel %s after %v", seed, n, r.channel, before)
					}
					began[r.channel] = append(began[r.channel], n)
					acting = append(acting, r)
				}
			case n == 2 && len(asked) > 0:
				d.answered(asked[0], webhook.Answer{}, nil)
				asked = nil
			case n == 3 && len(acting) > 0:
				i := rnd.IntN(len(acting))
				full := len(d.pending) == 8
				if resumes := d.remove(acting[i], 8); (resumes == 1) != full {
					t.Fatalf("seed %d: %d resumes", seed, resumes)
				}
				acting = append(acting[:i], acting[i+1:]...)
			}
		}
		// All that is left can be ended.
		for len(d.pending) > 0 {
			if r := d.next(); r != nil {
				if r.stage == stageAsking {
					asked = append(asked, r)
				} else {
					acting = append(acting, r)
				}
				continue
			}
			switch {
			case len(asked) > 0:
				d.answered(asked[0], webhook.Answer{}, nil)
				asked = asked[1:]
			case len(acting) > 0:
				d.remove(acting[0], 8)
				acting = acting[1:]
			default:
				t.Fatalf("seed %d: %d are stuck", seed, len(d.pending))
			}
		}
	}
}

func TestDialog_EndForgetsWhatDidNotBegin(t *testing.T) {
	d := &dialog{}
	asked, waits, acts := &request{question: &question{}}, &request{question: &question{}}, &request{}
	for _, r := range []*request{asked, waits, acts} {
		d.add(r, 3)
	}
	if d.next() != asked || d.next() != acts || d.next() != nil {
		t.Fatal("the first is asked, the last acts")
	}
	if got := d.end(); len(got) != 1 || got[0] != waits {
		t.Errorf("forgot %v", got)
	}
	if d.answered(asked, webhook.Answer{}, nil) || d.next() != nil {
		t.Error("it goes on")
	}
	if _, ok := d.add(&request{}, 3); ok {
		t.Error("another was taken")
	}
	if d.settle() {
		t.Error("somebody waits for it")
	}
}
