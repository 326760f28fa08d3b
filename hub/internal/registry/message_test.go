package registry

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// However many protocols and transports there are, each encodes a message once.
func TestMessage_IsEncodedOnceForEachEncoding(t *testing.T) {
	m := &Message{Data: []byte("x")}
	calls := 0
	for range 3 {
		for want := range 5 {
			as := Encoding(want + 1)
			got := m.Encoded(as, func(m *Message) []byte {
				calls++
				return fmt.Appendf(nil, "%s as %d", m.Data, as)
			})
			if string(got) != fmt.Sprintf("x as %d", as) {
				t.Errorf("encoding %d: got %s", as, got)
			}
		}
	}
	if calls != 5 {
		t.Errorf("%d calls, want 5", calls)
	}
}

func TestMessage_IsEncodedByManyAtOnce(t *testing.T) {
	var calls atomic.Int64
	m := &Message{}
	var all sync.WaitGroup
	for i := range 64 {
		as := Encoding(i%4 + 1)
		all.Go(func() {
			for range 1000 {
				if got := m.Encoded(as, func(*Message) []byte { calls.Add(1); return []byte{byte(as)} }); got[0] != byte(as) {
					t.Errorf("got %d, want %d", got[0], as)
				}
			}
		})
	}
	all.Wait()
	if n := calls.Load(); n > 64 {
		t.Errorf("%d calls", n)
	}
}
