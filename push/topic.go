package push

import "strings"

// Broker topics: one for each destination, so that one destination has one order
// for everybody, and one inbox for each node.
const (
	topicAll     = "all"
	userTopic    = "user:"
	channelTopic = "channel:"
	nodeTopic    = "node:"
)

// splitTopic names what a topic is for.
func splitTopic(topic string) (kind, name string) {
	if i := strings.IndexByte(topic, ':'); i >= 0 {
		return topic[:i+1], topic[i+1:]
	}
	return topic, ""
}

// nameSet is some names to look up; the map is only made where there are many.
type nameSet struct {
	few  []string
	many map[string]struct{}
}

// fewNames are found faster by comparing than by hashing.
const fewNames = 8

func newNameSet(names []string) nameSet {
	if len(names) <= fewNames {
		return nameSet{few: names}
	}
	s := nameSet{many: make(map[string]struct{}, len(names))}
	for _, n := range names {
		s.many[n] = struct{}{}
	}
	return s
}

func (s nameSet) has(name string) bool {
	for _, n := range s.few {
		if n == name {
			return true
		}
	}
	_, ok := s.many[name]
	return ok
}
