package hub

import (
	"testing"

	"github.com/pushcart/pushcart/hub/internal/envelope"
)

// brittle is a connection whose Send panics.
type brittle struct{ fakeConn }

func (*brittle) Send([]*Message) { panic("test: send") }

// A connection that panics costs neither the others of its fan-out nor its lane.
func TestDelivery_APanicOfOneConnectionLeavesTheOthersAlone(t *testing.T) {
	h := alone(t)
	first := join(t, h, "ann", "news")
	bad := &brittle{fakeConn{member: h.NewMember()}}
	if err := h.Join(t.Context(), bad, "bob", []string{"news"}); err != nil {
		t.Fatal(err)
	}
	last := join(t, h, "cem", "news")
	for _, text := range []string{"one", "two"} {
		mustPublish(t, h, `{"to":{"channels":["news"]},"text":"`+text+`"}`)
		mustPublish(t, h, `{"to":{"users":["bob"]},"text":"lost"}`)
	}
	wantFrames(t, first, "one", "two")
	wantFrames(t, last, "one", "two")
}

// A crowd is delivered by several goroutines.
func TestDelivery_APanicInACrowdLeavesTheOthersAlone(t *testing.T) {
	h := alone(t)
	conns := make([]Conn, 2*bigFanout)
	for i := range conns {
		conns[i] = &brittle{}
		if i%3 == 0 {
			conns[i] = &fakeConn{}
		}
	}
	h.sendBig(conns, []*Message{{Data: []byte("x")}})
	for i, c := range conns {
		if f, ok := c.(*fakeConn); ok && len(f.frames()) != 1 {
			t.Fatalf("connection %d got %d frames", i, len(f.frames()))
		}
	}
}

// What panics before anything is sent is given up; the lane's next task is not.
func TestLanes_APanicGivesUpOneTask(t *testing.T) {
	h := alone(t)
	c := join(t, h, "ann")
	ln := h.lanes.to(UserTopic+"ann", envelope.PushKind)
	h.lanes.push(ln, task{topic: UserTopic + "ann", payload: []byte{envelope.Version, envelope.OrderKind}[:1:1]})
	mustPublish(t, h, `{"to":{"users":["ann"]},"text":"next"}`)
	wantFrames(t, c, "next")
	if n := h.lanes.waiting(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}
