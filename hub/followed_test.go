package hub

import (
	"testing"

	"github.com/pushcart/pushcart/broker"
)

// Who was let in while the broker was away was told no position. Unless the first message
// has its epoch he could not come back by one, and would not know what he misses.
func TestStream_WhoWasToldNoPositionGetsTheEpochWithTheFirstMessage(t *testing.T) {
	for _, known := range []Position{{}, {Offset: 3, Epoch: "e"}} {
		conn := &fan{}
		s := &stream{at: known, followers: []follower{{conn: conn, cursor: &cursor{}}}, pending: 1}
		s.joinBlind(conn)
		s.moved(broker.Opened, Position{Offset: 4, Epoch: "e"})
		batch := []*Message{{Data: []byte("not kept")}, {Offset: 5, Epoch: "e"}, {Offset: 6, Epoch: "e"}, {Offset: 7, Epoch: "f"}, {Offset: 8, Epoch: "f"}}
		s.pass(batch)
		for i, want := range []bool{false, true, false, true, false} {
			if batch[i].NewEpoch != want {
				t.Errorf("from %v, message %d: the epoch is shown: %v, want %v", known, i, batch[i].NewEpoch, want)
			}
		}
	}
}

// A stream that its last follower left is not that of those who come next: with it the
// lane would pass their cursors over, and they would get messages twice.
func TestFollowed_AForgottenStreamIsNotLockedAgain(t *testing.T) {
	followed := newFollowed()
	var first, second *stream
	join := func(into **stream) {
		followed.with("channel:a", func(s *stream) {
			*into = s
			s.followers = append(s.followers, follower{conn: &fan{}})
		})
	}
	join(&first)
	first.mu.Lock() // the lane has it, and is about to deliver
	left := make(chan struct{})
	go func() {
		defer close(left)
		followed.with("channel:a", func(s *stream) { s.followers = nil })
	}()
	locked := make(chan *stream)
	go func() { locked <- followed.lock("channel:a") }()
	first.mu.Unlock()
	if s := <-locked; s != nil { // it came before the other left
		s.mu.Unlock()
	}
	<-left
	if s := followed.lock("channel:a"); s != nil {
		t.Fatal("a stream without followers is there")
	}
	join(&second)
	if first == second || !first.forgotten {
		t.Error("the stream that was left is used again")
	}
	if s := followed.lock("channel:a"); s != second {
		t.Errorf("locked %p, want %p", s, second)
	}
}

// Who begins to follow while the lane takes the connections of a topic that nobody follows
// is not among them.
func TestHub_WhoBeginsToFollowIsNotTakenForSomebodyWhoDoesNot(t *testing.T) {
	h := keepingAlone(t)
	f := newFan(h, "")
	f.follow(h, "kept.a", Start{})
	if conns, ok := h.appendUnfollowed(nil, ChannelTopic+"kept.a"); ok || len(conns) > 0 {
		t.Errorf("%d connections, %v", len(conns), ok)
	}
}
