package raw

import (
	"encoding/json"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/session"
)

// pipe is a transport that records.
type pipe struct {
	mu  sync.Mutex // guards got
	got []string
}

func (p *pipe) Write(b []byte, kind hub.Kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, map[hub.Kind]string{hub.Text: "text ", hub.Binary: "binary "}[kind]+string(b))
}
func (p *pipe) Session() *session.Session { return nil }
func (p *pipe) Room() (int, int)          { return 0, 0 }
func (p *pipe) OnRoom(func()) bool        { return false }
func (p *pipe) Charge(int)                {}
func (p *pipe) Hold()                     {}
func (p *pipe) Resume()                   {}
func (p *pipe) Reschedule()               {}
func (p *pipe) Member() *hub.Member       { return nil }
func (p *pipe) Send([]*hub.Message)       {}
func (p *pipe) End(*hub.Cause)            {}
func (p *pipe) Info() hub.Info            { return hub.Info{} }
func (p *pipe) SetState(json.RawMessage)  {}
func (p *pipe) Remote() netip.Addr        { return netip.Addr{} }

func TestOpen_WritesStringsAsTheirText(t *testing.T) {
	p := &pipe{}
	for _, f := range (Protocol{}).Open(nil, nil, &session.Opening{First: [][]byte{[]byte(`"hi \"you\""`), []byte(`{"a": 1}`), []byte(`null`), []byte(`17`)}}) {
		p.Write(f.Payload, f.Kind)
	}
	if want := []string{`text hi "you"`, `text {"a": 1}`, `text null`, `text 17`}; !slices.Equal(p.got, want) {
		t.Errorf("got %q, want %q", p.got, want)
	}
}

func TestPayload_IsWhatWasPushed(t *testing.T) {
	for _, m := range []*hub.Message{
		{Kind: hub.Text, Data: []byte("a")}, {Kind: hub.JSON, Data: []byte(`{"a": 1}`), ID: "1", Event: "e"}, {Kind: hub.Binary, Data: []byte{0, 255}},
	} {
		if p, kind := (Protocol{}).Payload(m); string(p) != string(m.Data) || kind != m.Kind {
			t.Errorf("%+v: got %q as %v", m, p, kind)
		}
	}
}
