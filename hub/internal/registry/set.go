package registry

import "math/bits"

// set is a hash table of values that know their own key: it stores no keys, one
// byte of hash beside each value, and gives memory back as it empties. A Go map
// would cost two to three times as much per idle connection. The zero set with
// its two functions is ready; it is not safe for concurrent use.
//
// Collisions go to the next free slot, and removal closes the gap, so there are
// no tombstones.
type set[K, V any] struct {
	hash func(V) uint64
	is   func(V, K) bool // the value's key is K

	tags  []uint8 // 0: the slot is free
	slots []V
	count int
}

// minSlots is the least a set that holds something has.
const minSlots = 4

func (s *set[K, V]) home(hash uint64) int {
	i, _ := bits.Mul64(hash, uint64(len(s.slots)))
	return int(i)
}

// tag tells most values of neighbouring slots apart. The lowest bits chose the
// shard and the upper ones choose the slot, so it takes others.
func tag(hash uint64) uint8 { return uint8(hash>>8) | 1 }

func (s *set[K, V]) after(i int) int {
	if i++; i < len(s.slots) {
		return i
	}
	return 0
}

// find returns the slot of a key, -1 if it is not there.
func (s *set[K, V]) find(hash uint64, key K) int {
	if s.count == 0 {
		return -1
	}
	t := tag(hash)
	for i := s.home(hash); s.tags[i] != 0; i = s.after(i) {
		if s.tags[i] == t && s.is(s.slots[i], key) {
			return i
		}
	}
	return -1
}

// get returns the value of a key, the zero value if it is not there.
func (s *set[K, V]) get(hash uint64, key K) (v V) {
	if i := s.find(hash, key); i >= 0 {
		v = s.slots[i]
	}
	return v
}

// add puts in a value whose key is not there yet.
func (s *set[K, V]) add(v V) {
	if 4*(s.count+1) > 3*len(s.slots) {
		s.resize(max(minSlots, len(s.slots)*3/2))
	}
	s.place(v)
	s.count++
}

func (s *set[K, V]) place(v V) {
	h := s.hash(v)
	i := s.home(h)
	for s.tags[i] != 0 {
		i = s.after(i)
	}
	s.tags[i], s.slots[i] = tag(h), v
}

// replace puts another value of the same key into its slot.
func (s *set[K, V]) replace(slot int, v V) { s.slots[slot] = v }

// remove empties a slot that find returned.
func (s *set[K, V]) remove(slot int) {
	s.count--
	for next := s.after(slot); s.tags[next] != 0; next = s.after(next) {
		// What stands at next may move to slot unless its home lies between them.
		home := s.home(s.hash(s.slots[next]))
		if s.distance(home, next) >= s.distance(slot, next) {
			s.tags[slot], s.slots[slot] = s.tags[next], s.slots[next]
			slot = next
		}
	}
	var none V
	s.tags[slot], s.slots[slot] = 0, none
	if 3*s.count < len(s.slots) && len(s.slots) > minSlots {
		s.resize(max(minSlots, 2*s.count))
	}
}

// distance is how many steps after takes from one slot to another.
func (s *set[K, V]) distance(from, to int) int {
	if to >= from {
		return to - from
	}
	return to - from + len(s.slots)
}

func (s *set[K, V]) resize(n int) {
	tags, slots := s.tags, s.slots
	s.tags, s.slots = make([]uint8, n), make([]V, n)
	for i, t := range tags {
		if t != 0 {
			s.place(slots[i])
		}
	}
}

// all calls do for every value.
func (s *set[K, V]) all(do func(V)) {
	for i, t := range s.tags {
		if t != 0 {
			do(s.slots[i])
		}
	}
}
