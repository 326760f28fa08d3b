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
