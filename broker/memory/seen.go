package memory

import (
	"time"

	"github.com/pushcart/pushcart/broker"
)

// seenIDs remembers idempotency keys for DuplicateWindow. It has two generations:
// the younger one becomes the older after a window, and what was older is
// forgotten, so that keys live between one and two windows; the time stored with
// each decides. Times are since the broker began. It is not safe for concurrent use.
type seenIDs struct {
	young, old map[idKey]idMark
	turned     time.Duration
}

type idKey struct{ topic, id string }

type idMark struct {
	digest uint64
	at     time.Duration
	// kept is where the message is kept; nil for nowhere.
	kept *broker.Position
}

// find says whether an ID is known: then it is a duplicate of a message that was kept
// there, or ErrConflict if its content was another.
func (s *seenIDs) find(key idKey, digest uint64, now time.Duration) (kept broker.Position, duplicate bool, err error) {
	mark, ok := s.young[key]
	if !ok {
		mark, ok = s.old[key]
	}
	switch {
	case !ok || now-mark.at >= broker.DuplicateWindow:
		return broker.Position{}, false, nil
	case mark.digest != digest:
		return broker.Position{}, false, broker.ErrConflict
	case mark.kept != nil:
		kept = *mark.kept
	}
	return kept, true, nil
}

// add records an ID that is not known.
func (s *seenIDs) add(key idKey, mark idMark) {
	switch age := mark.at - s.turned; {
	case s.young == nil || age >= 2*broker.DuplicateWindow:
		s.young, s.old, s.turned = map[idKey]idMark{}, nil, mark.at
	case age >= broker.DuplicateWindow:
		s.young, s.old, s.turned = map[idKey]idMark{}, s.young, mark.at
	}
	s.young[key] = mark
}
