package ids

import (
	"math/bits"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

func TestConnectionID_ParsesBack(t *testing.T) {
	node := NewNode()
	for _, n := range []uint64{0, 1, 15, 1 << 63, ^uint64(0), 0x0123456789abcdef} {
		id := Connection(node, n)
		if gotNode, got, ok := ParseConnection(id); !ok || gotNode != node || got != n {
			t.Errorf("%s: got %s, %d, %v; want %s, %d", id, gotNode, got, ok, node, n)
		}
	}
}

func TestParseConnectionID_RefusesOthers(t *testing.T) {
	good := Connection(NewNode(), 7)
	for _, id := range []string{
		"", "-", "abc", good[:len(good)-1], good + "0", strings.ToUpper(good), strings.Replace(good, "-", "_", 1),
		good[:26] + "v", // its last bit stands for nothing
		"wwwwwwwwwwwww-0000000000000",
	} {
		if _, _, ok := ParseConnection(id); ok {
			t.Errorf("%q was taken", id)
		}
	}
}

func FuzzParseConnectionID(f *testing.F) {
	f.Add(Connection(NewNode(), 1))
	f.Add("0000000000000-0000000000001")
	f.Fuzz(func(t *testing.T, s string) {
		if node, n, ok := ParseConnection(s); ok && Connection(node, n) != s {
			t.Errorf("%q is read as %s, %d, which is %q", s, node, n, Connection(node, n))
		}
	})
}

func TestNumbers_AreDifferentAndDoNotCount(t *testing.T) {
	n := NewNumbers()
	const count = 100_000
	all := make([]uint64, count)
	flips := 0
	for i := range all {
		all[i] = n.Next()
		if i > 0 {
			flips += bits.OnesCount64(all[i] ^ all[i-1])
		}
	}
	if mean := float64(flips) / (count - 1); mean < 31 || mean > 33 {
		t.Errorf("two numbers in a row differ in %.2f bits, want about 32", mean)
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != count {
		t.Error("a number came twice")
	}
}

// The vector is of the authors' reference code: key 00..0f, plaintext
// "ABCDEFGH".
func TestNumbers_AreXTEA(t *testing.T) {
	n := &Numbers{key: [4]uint32{0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f}}
	if got := n.encipher(0x4142434445464748); got != 0x497df3d072612cb5 {
		t.Errorf("got %x, want 497df3d072612cb5", got)
	}
}

func TestNewID_IsUUIDv7(t *testing.T) {
	last := ""
	for range 100 {
		id, err := uuid.Parse(NewUUID())
		if err != nil || id.Version() != 7 || id.Variant() != uuid.RFC4122 {
			t.Fatalf("%s: version %d, variant %v, %v", id, id.Version(), id.Variant(), err)
		}
		if time := id.String()[:13]; time < last {
			t.Errorf("%s sorts before %s", time, last)
		} else {
			last = time
		}
	}
}
