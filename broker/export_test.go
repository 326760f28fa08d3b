package broker

// What tests from outside look for in Redis.

// LeasesKey has the names of the nodes that count seats.
func LeasesKey(prefix string) string { return newKeys(prefix, 0).leases() }

// SeatsKeys are where a user's seats lie, and the names of nodes whose seats count.
func SeatsKeys(prefix, user string) (nodes, seats string) {
	k := newKeys(prefix, 0).seats(partitionOf(user))
	return k.nodes, k.users + user
}

// ChannelKey is the pub/sub channel of a topic.
func ChannelKey(prefix string, database int, topic string) string {
	return newKeys(prefix, database).channel(topic)
}
