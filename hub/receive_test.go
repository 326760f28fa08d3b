package hub

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub/internal/envelope"
	"github.com/pushcart/pushcart/internal/ids"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/metrics"

	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/internal/testkit"
)

// What no node sends is refused with a log line, and the next message comes
// through.
func FuzzHub_ReceivesAnything(f *testing.F) {
	for _, e := range []envelope.Envelope{
		{Kind: JSON, ID: "i", Event: "e", From: "bob", Payload: []byte(`{"a":1}`)},
		{Receipt: envelope.ReturnAddress{Node: "n", Request: 1, Wait: 2}, Ack: true, One: true, Connection: 1, Payload: []byte("x")},
		{Except: envelope.Except{Users: []string{"ann"}}, Skip: envelope.Skip{Users: []string{"42"}}, Payload: []byte("x")},
		{Bulk: &envelope.BulkRef{Node: "abc", Number: 7, Whole: true}, Payload: []byte("x")},
	} {
		f.Add(e.Append(nil))
	}
	f.Add([]byte{})
	f.Add([]byte{envelope.Version + 1, envelope.PushKind})
	f.Add([]byte{envelope.Version, envelope.PushKind, 3})
	f.Add([]byte{envelope.Version, envelope.ReceiptKind, 0xff})
	f.Add([]byte("\x01\x05{"))
	f.Add([]byte(`` + "\x01\x03" + `{"op":"disconnect","number":1}`))
	f.Add([]byte(`` + "\x01\x04" + `{"op":"describe","number":1,"from":"x"}`))
	h := alone(f)
	c := join(f, h, "42", "news")
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, topic := range []string{"user:42", "channel:news", "all", "node:" + h.node, "what"} {
			h.receive(broker.Message{Topic: topic, Payload: bytes.Clone(b)})
			h.lanes.published(t.Context(), h.lanes.to(topic, envelope.KindOf(b)))
		}
		c.mu.Lock()
		c.got = nil
		c.mu.Unlock()
	})
}

func TestHub_SaysWhenItCannotRead(t *testing.T) {
	var log testkit.Log
	h := NewHub(memory.New(), ids.NewNode(), metrics.New("", ""), slog.New(slog.NewTextHandler(&log, nil)))
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := join(t, h, "42")
	for _, b := range []string{"", "\x02\x01", "\x01\x09", "\x01\x01", "\x01\x01\x03", "\x01\x02\xff", "\x01\x03{", "\x01\x05]"} {
		before := log.Lines()
		h.rate = ratelog.New(h.log) // as if a minute had passed
		for range 3 {
			h.receive(broker.Message{Topic: "user:42", Payload: []byte(b)})
			h.lanes.published(t.Context(), h.lanes.to("user:42", envelope.OrderKind))
		}
		if log.Lines() != before+1 {
			t.Errorf("%q: %d log lines, want 1", b, log.Lines()-before)
		}
	}
	mustPublish(t, h, `{"to":{"users":["42"]},"text":"after"}`)
	wantFrames(t, c, "after")
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if text := log.String(); strings.Contains(text, "panic") {
		t.Error(text)
	}
}
