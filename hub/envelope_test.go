package hub

import (
	"bytes"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/ids"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/metrics"

	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/internal/testkit"
)

func envelopes() map[string]envelope {
	return map[string]envelope{
		"plain": {kind: JSON, accepted: 1 << 60, payload: []byte(`{"a":1}`)},
		"empty": {kind: Text, payload: []byte{}},
		"binary, with id and event": {
			kind: Binary, accepted: -1, id: "0198c5f0", event: "order.paid", payload: []byte{0, 1, 2},
		},
		"of a client":     {kind: JSON, from: "ann", payload: []byte("1")},
		"to be confirmed": {kind: Text, ack: true, receipt: returnAddress{"n", 1, 2}, payload: []byte("x")},
		"receipt":         {receipt: returnAddress{"abc", 1 << 40, 30_000}, payload: []byte("x")},
		"one connection, with skip": {
			one: true, connection: ^uint64(0), payload: []byte("x"),
			skip: skip{users: []string{"", "42"}, channels: []string{"ü"}, connections: nil},
		},
		"with except":      {except: except{users: []string{"ann"}, connections: []string{"c", ""}}, payload: []byte("x")},
		"but for one user": {except: except{users: []string{"ann"}}, payload: []byte("x")},
		"of a bulk": {
			receipt: returnAddress{"n", 1, 2}, bulk: &bulkRef{"abc", 1 << 40, false}, payload: []byte{},
		},
		"whole, with a bulk": {
			bulk: &bulkRef{"abc", 7, true}, except: except{users: []string{"ann"}}, payload: []byte("x"),
		},
		"everything": {
			kind: Binary, id: "i", event: "e", from: "bob", ack: true, receipt: returnAddress{"n", 0, 0}, one: true,
			except: except{[]string{"x"}, []string{"y"}}, skip: skip{[]string{"a"}, []string{"b"}, []string{"c"}}, payload: []byte("payload"),
		},
	}
}

func TestEnvelope_ParsesBack(t *testing.T) {
	for name, want := range envelopes() {
		got, err := parseEnvelope(want.append(nil))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, want)
		}
	}
}

func TestReceipt_ParsesBack(t *testing.T) {
	want := receiptNote{request: 7, node: "abc", messages: 3, matched: true, delivered: 1 << 33, slow: 2, acked: 3}
	if got, err := parseReceipt(want.append(nil)); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, e := range envelopes() {
		f.Add(e.append(nil))
	}
	n := receiptNote{request: 7, node: "abc", messages: 1, matched: true}
	f.Add(n.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := parseEnvelope(b); err == nil {
			again, err := parseEnvelope(e.append(nil))
			if err != nil || !reflect.DeepEqual(again, e) {
				t.Errorf("%x: read as %+v, and then as %+v, %v", b, e, again, err)
			}
		}
		if n, err := parseReceipt(b); err == nil {
			if again, err := parseReceipt(n.append(nil)); err != nil || again != n {
				t.Errorf("%x: read as %+v, and then as %+v, %v", b, n, again, err)
			}
		}
	})
}

// What no node sends is refused with a log line, and the next message comes
// through.
func FuzzHub_ReceivesAnything(f *testing.F) {
	for _, e := range envelopes() {
		f.Add(e.append(nil))
	}
	f.Add([]byte{})
	f.Add([]byte{envelopeVersion + 1, envelopePush})
	f.Add([]byte{envelopeVersion, envelopePush, 3})
	f.Add([]byte{envelopeVersion, envelopeReceipt, 0xff})
	f.Add([]byte("\x01\x05{"))
	f.Add([]byte(`` + "\x01\x03" + `{"op":"disconnect","number":1}`))
	f.Add([]byte(`` + "\x01\x04" + `{"op":"describe","number":1,"from":"x"}`))
	h := alone(f)
	c := join(f, h, "42", "news")
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, topic := range []string{"user:42", "channel:news", "all", "node:" + h.node, "what"} {
			h.receive(broker.Message{Topic: topic, Payload: bytes.Clone(b)})
			h.lanes.published(t.Context(), h.lanes.to(topic, envelopeKind(b)))
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
			h.lanes.published(t.Context(), h.lanes.to("user:42", envelopeOrder))
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
