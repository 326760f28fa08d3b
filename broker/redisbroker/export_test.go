package redisbroker

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

// RecordKey, MessagesKey and SeenKey are where a stream and what is known of an id lie.
func RecordKey(prefix, topic string) string { return newKeys(prefix, 0).record(topic) }

// MessagesKey is what RecordKey says.
func MessagesKey(prefix, topic string) string { return newKeys(prefix, 0).messages(topic) }

// SeenKey is what RecordKey says.
func SeenKey(prefix, topic, id string) string { return newKeys(prefix, 0).seen(topic, id) }

// Feeds is how many streams a node holds.
func (b *Broker) Feeds() int64 { return b.streams.feeds.count.Load() }

// Waits is how many feeds wait for their turn to be compared, or fetched.
func (b *Broker) Waits() int {
	b.streams.mu.Lock()
	defer b.streams.mu.Unlock()
	return len(b.streams.checks) + len(b.streams.fetches) + len(b.streams.again)
}

// LastingKeys are where a topic's list lies, and what says that its partition has lists.
func LastingKeys(prefix, topic string) (list, mark string) {
	k := newKeys(prefix, 0)
	return k.lasting(topic), k.lastingMark(partitionOf(nameOf(topic)))
}
