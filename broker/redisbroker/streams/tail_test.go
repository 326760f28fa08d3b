package streams

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/pushcart/pushcart/broker"
)

// Tails are let go, and all together have a bound.
func TestTail_IsBounded(t *testing.T) {
	var all atomic.Int64
	tails := make([]tail, 2*maxTails/maxTailBytes)
	for i := range tails {
		tails[i].of = &all
		for n := range 80 {
			tails[i].add(broker.Message{Payload: make([]byte, 1000), Position: broker.Position{Offset: uint64(n + 1), Epoch: "e"}})
		}
		if len(tails[i].messages) > maxTailMessages || tails[i].bytes > maxTailBytes {
			t.Fatalf("%d messages, %d bytes", len(tails[i].messages), tails[i].bytes)
		}
	}
	if got := all.Load(); got > maxTails+int64(len(tails))*1000 {
		t.Errorf("%d bytes in all tails, want about %d", got, maxTails)
	}
	sum := 0
	for i := range tails {
		for _, m := range tails[i].messages {
			sum += len(m.Payload)
		}
	}
	if int64(sum) != all.Load() {
		t.Errorf("%d bytes are there, %d are counted", sum, all.Load())
	}
	for i := range tails {
		tails[i].age()
		tails[i].age()
	}
	if got := all.Load(); got != 0 {
		t.Errorf("%d bytes are left of silent streams", got)
	}
}

func TestTail_HasNoGap(t *testing.T) {
	tl := tail{of: new(atomic.Int64)}
	for _, offset := range []uint64{1, 2, 4, 5} {
		tl.add(broker.Message{Payload: fmt.Append(nil, offset), Position: broker.Position{Offset: offset, Epoch: "e"}})
	}
	if len(tl.messages) != 2 || tl.messages[0].Position.Offset != 4 {
		t.Errorf("got %+v", tl.messages)
	}
}
