package hub

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"unsafe"
)

// TestMember_IsSmall holds the promise that an idle connection is lean.
func TestMember_IsSmall(t *testing.T) {
	if got := unsafe.Sizeof(Member{}); got > 48 {
		t.Errorf("Member takes %d bytes, want at most 48", got)
	}
}

// TestHub_BytesPerMember measures what registering one connection costs beside
// the Member itself: table, user and, in memory, the broker's subscription.
func TestHub_BytesPerMember(t *testing.T) {
	const n = 100_000
	h := alone(t)
	conns := make([]fakeConn, n)
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("user-%08d", i)
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range conns {
		conns[i].member = h.NewMember()
		if err := h.Join(context.Background(), &conns[i], names[i], nil); err != nil {
			t.Fatal(err)
		}
	}
	per := float64(heap()-before) / n
	t.Logf("%.0f bytes per member, of which %d are Member", per+48, unsafe.Sizeof(Member{}))
	after := heap()
	for i := range conns {
		h.Leave(&conns[i])
	}
	t.Logf("%.1f bytes per member given back", (float64(after)-float64(heap()))/n)
	runtime.KeepAlive(conns)
	runtime.KeepAlive(names)
}
