package hub

import (
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub/internal/envelope"
)

func TestMessage_CarriesWhatClientsSee(t *testing.T) {
	e := envelope.Envelope{Kind: JSON, Accepted: 7, ID: "the id", Event: "order.paid", Payload: []byte(`{"a":1}`)}
	got, err := envelope.Parse(e.Append(nil))
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
