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
