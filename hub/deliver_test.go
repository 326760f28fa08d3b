package hub

import (
	"testing"

	"github.com/pushcart/pushcart/broker"
)

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

func TestHub_EncodingsAreDifferent(t *testing.T) {
	h := new(Hub)
	if a, b := h.NewEncoding(), h.NewEncoding(); a == b || a == 0 || b == 0 {
		t.Errorf("got %d and %d", a, b)
	}
}
