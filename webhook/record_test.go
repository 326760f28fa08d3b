package webhook

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

var recorded = time.Date(2026, 11, 30, 12, 0, 0, 123e6, time.UTC)

// records are events with all that a record keeps, and with next to nothing.
func recordedEvents() []*Event {
	return []*Event{
		{
			Source: Source{
				ConnectionID: "c1", UserID: "ann ü", ForwardedFor: "2001:db8::1", Proto: "https", Host: "app.test", RequestHost: "app.test:8080",
				Trace: &Trace{"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "vendor=1"},
			},
			Name: Disconnected, Sequence: 7, Time: recorded, Node: "node9", State: []byte(`{"cart":1}`), ContentType: contentJSON, Body: []byte(`{"code":1000}`),
		},
		{Source: Source{ConnectionID: "c2"}, Name: Connected},
		NewFact(PresenceJoin, "chat", "bob", 1764504000123, recorded),
	}
}

func TestEvent_IsReadAsItWasWritten(t *testing.T) {
	for _, ev := range recordedEvents() {
		got, err := ParseEvent(AppendEvent(nil, ev))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, ev) {
			t.Errorf("got %+v, want %+v", got, ev)
		}
	}
}

func TestRecord_IsReadAsItWasWritten(t *testing.T) {
	for _, r := range []Record{{}, {Since: recorded, Events: recordedEvents()[:2]}} {
		got, err := ParseRecord(AppendRecord(nil, &r))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, r) {
			t.Errorf("got %+v, want %+v", got, r)
		}
	}
}

func TestRecord_OfAnotherVersionOrCutIsRefused(t *testing.T) {
	whole := AppendRecord(nil, &Record{Since: recorded, Events: recordedEvents()})
	for n := range whole {
		if _, err := ParseRecord(whole[:n]); !errors.Is(err, ErrRecord) {
			t.Errorf("the first %d of %d bytes: %v", n, len(whole), err)
		}
	}
	if _, err := ParseRecord(append(whole, 0)); !errors.Is(err, ErrRecord) {
		t.Errorf("a byte too many: %v", err)
	}
	whole[0] = 9
	if _, err := ParseRecord(whole); !errors.Is(err, ErrRecord) || !strings.Contains(err.Error(), "version 9") {
		t.Errorf("version 9: %v", err)
	}
}

// A record of an idle connection is read and written for each that comes and goes.
func TestRecord_IsSmall(t *testing.T) {
	ev := &Event{Source: Source{ConnectionID: "9f53ca4abka-lvdt7n99", UserID: "42", ForwardedFor: "192.0.2.1", Proto: "https", Host: "app.example.com"}, Name: Disconnected}
	if n := len(AppendRecord(nil, &Record{Since: recorded, Events: []*Event{ev}})); n > 100 {
		t.Errorf("%d bytes", n)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(AppendRecord(nil, &Record{Since: recorded, Events: recordedEvents()}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			return
		}
		again, err := ParseRecord(AppendRecord(nil, &r))
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%q: %+v, then %+v, %v", b, r, again, err)
		}
	})
}

func FuzzParseEvent(f *testing.F) {
	for _, ev := range recordedEvents() {
		f.Add(AppendEvent(nil, ev))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ev, err := ParseEvent(b)
		if err != nil {
			return
		}
		again, err := ParseEvent(AppendEvent(nil, ev))
		if err != nil || !reflect.DeepEqual(again, ev) {
			t.Errorf("%q: %+v, then %+v, %v", b, ev, again, err)
		}
	})
}
