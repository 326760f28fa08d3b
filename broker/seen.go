package broker

import "time"

// seenIDs remembers idempotency keys for DuplicateWindow. It has two generations:
// the younger one becomes the older after a window, and what was older is
// forgotten, so that keys live between one and two windows; the time stored with
// each decides. It is not safe for concurrent use.
type seenIDs struct {
	young, old map[idKey]idMark
	turned     time.Time
}

type idKey struct{ topic, id string }

type idMark struct {
	digest uint64
	at     time.Time
}

// check records an ID, unless it is known: then it is a duplicate, or ErrConflict
// if its content was another.
func (s *seenIDs) check(topic, id string, digest uint64) (duplicate bool, err error) {
	now := time.Now()
	switch age := now.Sub(s.turned); {
	case age >= 2*DuplicateWindow:
		s.young, s.old, s.turned = map[idKey]idMark{}, nil, now
	case age >= DuplicateWindow:
		s.young, s.old, s.turned = map[idKey]idMark{}, s.young, now
	}
	key := idKey{topic, id}
	mark, ok := s.young[key]
	if !ok {
		mark, ok = s.old[key]
	}
	if ok && now.Sub(mark.at) < DuplicateWindow {
		if mark.digest != digest {
			return false, ErrConflict
		}
		return true, nil
	}
	s.young[key] = idMark{digest, now}
	return false, nil
}
