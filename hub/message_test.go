package hub

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pushcart/pushcart/broker"
)

// However many protocols and transports there are, each encodes a message once.
func TestMessage_IsEncodedOnceForEachEncoding(t *testing.T) {
	h := new(Hub)
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
	if a, b := h.NewEncoding(), h.NewEncoding(); a == b || a == 0 || b == 0 {
		t.Errorf("got %d and %d", a, b)
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

func TestMessage_CarriesWhatClientsSee(t *testing.T) {
	e := envelope{kind: JSON, accepted: 7, id: "the id", event: "order.paid", payload: []byte(`{"a":1}`)}
	got, err := parseEnvelope(e.append(nil))
	if err != nil {
		t.Fatal(err)
	}
	m := newMessage(&task{topic: "channel:news", position: broker.Position{Offset: 7, Epoch: "e1"}}, &got)
	if m.ID != "the id" || m.Event != "order.paid" || m.Channel() != "news" || m.Accepted != 7 || m.Kind != JSON || string(m.Data) != `{"a":1}` ||
		m.Offset != 7 || m.Epoch != "e1" {
		t.Errorf("got %+v", m)
	}
	if m := newMessage(&task{topic: "user:42"}, &got); m.Channel() != "" {
		t.Errorf("a user's message has channel %q", m.Channel())
	}
}
