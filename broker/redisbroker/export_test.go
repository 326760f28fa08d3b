package redisbroker

import "github.com/pushcart/pushcart/broker/redisbroker/link"

// What tests from outside look for in Redis.

// LeasesKey has the names of the nodes that count seats.
func LeasesKey(prefix string) string { return link.NewKeys(prefix, 0).Leases() }

// SeatsKeys are where a user's seats lie, and the names of nodes whose seats count.
func SeatsKeys(prefix, user string) (nodes, seats string) {
	k := link.NewKeys(prefix, 0).Seats(link.PartitionOf(user))
	return k.Nodes, k.Users + user
}

// ChannelKey is the pub/sub channel of a topic.
func ChannelKey(prefix string, database int, topic string) string {
	return link.NewKeys(prefix, database).Channel(topic)
}

// RecordKey, MessagesKey and SeenKey are where a stream and what is known of an id lie.
func RecordKey(prefix, topic string) string { return link.NewKeys(prefix, 0).Record(topic) }

// MessagesKey is what RecordKey says.
func MessagesKey(prefix, topic string) string { return link.NewKeys(prefix, 0).Messages(topic) }

// SeenKey is what RecordKey says.
func SeenKey(prefix, topic, id string) string { return link.NewKeys(prefix, 0).Seen(topic, id) }

// Feeds is how many streams a node holds.
func (b *Broker) Feeds() int {
	held, _ := b.streams.Size()
	return held
}

// Waits is how many feeds wait for their turn to be compared, or fetched.
func (b *Broker) Waits() int {
	_, waiting := b.streams.Size()
	return waiting
}

// LastingKeys are where a topic's list lies, and what says that its partition has lists.
func LastingKeys(prefix, topic string) (list, mark string) {
	k := link.NewKeys(prefix, 0)
	return k.Lasting(topic), k.LastingMark(link.TopicPartition(topic))
}
