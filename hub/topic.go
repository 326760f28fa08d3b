package hub

import "strings"

// Broker topics: one for each destination, so that one destination has one order
// for everybody, and one inbox for each node.
const (
	topicAll     = "all"
	UserTopic    = "user:"
	ChannelTopic = "channel:"
	nodeTopic    = "node:"
)

// splitTopic names what a topic is for.
func splitTopic(topic string) (kind, name string) {
	if i := strings.IndexByte(topic, ':'); i >= 0 {
		return topic[:i+1], topic[i+1:]
	}
	return topic, ""
}

// nameSet is some names to look up, in their order; the map is only made where there
// are many.
type nameSet struct {
	few  []string
	many map[string]int
}

// fewNames are found faster by comparing than by hashing.
const fewNames = 8

func newNameSet(names []string) nameSet {
	if len(names) <= fewNames {
		return nameSet{few: names}
	}
	s := nameSet{many: make(map[string]int, len(names))}
	for i, n := range names {
		if _, again := s.many[n]; !again {
			s.many[n] = i
		}
	}
	return s
}

func (s *nameSet) empty() bool { return len(s.few)+len(s.many) == 0 }

func (s *nameSet) size() int { return len(s.few) + len(s.many) }

func (s *nameSet) has(name string) bool { return s.index(name) >= 0 }

// index is the place of a name, -1 if it is not here.
func (s *nameSet) index(name string) int {
	for i, f := range s.few {
		if f == name {
			return i
		}
	}
	if i, ok := s.many[name]; ok {
		return i
	}
	return -1
}

// among says whether a name is one of the first n.
func (s *nameSet) among(name string, n int) bool {
	i := s.index(name)
	return i >= 0 && i < n
}
