package registry

import (
	"math/rand/v2"
	"testing"
)

// A set does what a map does, also where many hashes are alike.
func TestSet_IsAMap(t *testing.T) {
	f := func(name string, hash func(uint64) uint64) {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			s := set[uint64, uint64]{hash: hash, is: func(v, k uint64) bool { return v == k }}
			m := map[uint64]bool{}
			for range 20_000 {
				k := r.Uint64N(500)
				switch i := s.find(hash(k), k); {
				case (i >= 0) != m[k]:
					t.Fatalf("%d: found at %d, want %v", k, i, m[k])
				case i >= 0:
					s.remove(i)
					delete(m, k)
				default:
					s.add(k)
					m[k] = true
				}
				if s.count != len(m) {
					t.Fatalf("count: got %d, want %d", s.count, len(m))
				}
			}
			n := 0
			s.all(func(v uint64) {
				n++
				if !m[v] {
					t.Errorf("all: %d is not in it", v)
				}
			})
			if n != len(m) {
				t.Errorf("all: got %d values, want %d", n, len(m))
			}
		})
	}
	f("spread", func(k uint64) uint64 { return k * 0x9e3779b97f4a7c15 })
	f("eight hashes", func(k uint64) uint64 { return k % 8 << 61 })
	f("the last slot", func(uint64) uint64 { return ^uint64(0) })
}

func TestSet_GivesMemoryBack(t *testing.T) {
	s := set[uint64, uint64]{
		hash: func(k uint64) uint64 { return k * 0x9e3779b97f4a7c15 },
		is:   func(v, k uint64) bool { return v == k },
	}
	for k := range uint64(10_000) {
		s.add(k)
	}
	most := len(s.slots)
	for k := range uint64(9_990) {
		s.remove(s.find(s.hash(k), k))
	}
	if got := len(s.slots); got > 40 {
		t.Errorf("10 values of once 10,000 take %d slots (of %d)", got, most)
	}
	if most > 20_000 {
		t.Errorf("10,000 values take %d slots", most)
	}
}
