package registry

import "strings"

// The broker's topics: one for each destination, so that one destination has one order
// for everybody, and one inbox for each node.
const (
	AllTopic     = "all"
	UserTopic    = "user:"
	ChannelTopic = "channel:"
	NodeTopic    = "node:"
)

// SplitTopic names what a topic is for.
func SplitTopic(topic string) (kind, name string) {
	if i := strings.IndexByte(topic, ':'); i >= 0 {
		return topic[:i+1], topic[i+1:]
	}
	return topic, ""
}
