package envelope

import (
	"reflect"
	"testing"

	"github.com/pushcart/pushcart/hub/internal/registry"
)

func envelopes() map[string]Envelope {
	return map[string]Envelope{
		"plain": {Kind: registry.JSON, Accepted: 1 << 60, Payload: []byte(`{"a":1}`)},
		"empty": {Kind: registry.Text, Payload: []byte{}},
		"binary, with id and event": {
			Kind: registry.Binary, Accepted: -1, ID: "0198c5f0", Event: "order.paid", Payload: []byte{0, 1, 2},
		},
		"of a client":     {Kind: registry.JSON, From: "ann", Payload: []byte("1")},
		"to be confirmed": {Kind: registry.Text, Ack: true, Receipt: ReturnAddress{"n", 1, 2}, Payload: []byte("x")},
		"receipt":         {Receipt: ReturnAddress{"abc", 1 << 40, 30_000}, Payload: []byte("x")},
		"one connection, with skip": {
			One: true, Connection: ^uint64(0), Payload: []byte("x"),
			Skip: Skip{Users: []string{"", "42"}, Channels: []string{"ü"}, Connections: nil},
		},
		"with except":      {Except: Except{Users: []string{"ann"}, Connections: []string{"c", ""}}, Payload: []byte("x")},
		"but for one user": {Except: Except{Users: []string{"ann"}}, Payload: []byte("x")},
		"of a bulk": {
			Receipt: ReturnAddress{"n", 1, 2}, Bulk: &BulkRef{"abc", 1 << 40, false}, Payload: []byte{},
		},
		"whole, with a bulk": {
			Bulk: &BulkRef{"abc", 7, true}, Except: Except{Users: []string{"ann"}}, Payload: []byte("x"),
		},
		"everything": {
			Kind: registry.Binary, ID: "i", Event: "e", From: "bob", Ack: true, Receipt: ReturnAddress{"n", 0, 0}, One: true,
			Except: Except{[]string{"x"}, []string{"y"}}, Skip: Skip{[]string{"a"}, []string{"b"}, []string{"c"}}, Payload: []byte("payload"),
		},
	}
}

func TestEnvelope_ParsesBack(t *testing.T) {
	for name, want := range envelopes() {
		got, err := Parse(want.Append(nil))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, want)
		}
	}
}

func TestReceipt_ParsesBack(t *testing.T) {
	want := Receipt{Request: 7, Node: "abc", Messages: 3, Matched: true, Delivered: 1 << 33, Slow: 2, Acked: 3}
	if got, err := ParseReceipt(want.Append(nil)); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, e := range envelopes() {
		f.Add(e.Append(nil))
	}
	n := Receipt{Request: 7, Node: "abc", Messages: 1, Matched: true}
	f.Add(n.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := Parse(b); err == nil {
			again, err := Parse(e.Append(nil))
			if err != nil || !reflect.DeepEqual(again, e) {
				t.Errorf("%x: read as %+v, and then as %+v, %v", b, e, again, err)
			}
		}
		if n, err := ParseReceipt(b); err == nil {
			if again, err := ParseReceipt(n.Append(nil)); err != nil || again != n {
				t.Errorf("%x: read as %+v, and then as %+v, %v", b, n, again, err)
			}
		}
	})
}

func TestBulks_AreBounded(t *testing.T) {
	var s Bulks
	b := AppendBulk(nil, &BulkRef{Node: "n", Number: 1}, &Except{}, &Skip{}, make([]byte, maxBulks/4))
	for i := range 6 {
		if ok, err := s.Add(b); ok != (i < 3) || err != nil {
			t.Errorf("bulk %d: %v, %v", i, ok, err)
		}
	}
	if _, err := s.Add([]byte{Version, BulkKind, 9}); err == nil {
		t.Error("nonsense was taken")
	}
}
