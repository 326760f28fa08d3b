// Package broker carries messages between nodes: in memory for one node, or
// through Redis. It knows topics and bytes, never users, connections or frames. Only
// the seats, which stand beside the Broker, count users' connections, by name.
//
// What both brokers promise, and brokertest holds them to: messages of one topic
// reach every subscribed node in one order, the order in which the broker took
// them; a node that is not subscribed gets nothing; Publish says how many nodes
// it went to; an idempotency key is checked and recorded in the same step as the
// publish.
//
// All methods may be called concurrently. The Receiver is called from the
// broker's goroutines, one call at a time per topic; it must never block.
//
// # Words
//
// A topic is a destination; a channel, in this package, is the Redis pub/sub channel
// of a topic. A seat is a user's place among limits.connections_per_user, which one
// connection has at a time; it never means anything else. A list is names that are kept
// with a topic: a user's lasting subscriptions. A lease keeps a node's name counted while
// it is renewed. A partition is one of 64 parts of all names, each with a hash tag in
// Redis.
//
// # Memory
//
// Memory has 64 shards of topics, each under one lock (memory.go). Streams are in
// memory_streams.go, each with a ring of its messages (memory_ring.go) and a place in
// its shard's list by last use (memory_unused.go). The bound over all streams looks at
// the lists' ends, and drops what was unused longest (memory_bound.go). A reader never
// gets what is past its age or TTL; the sweeper frees it later (memory_sweep.go). Lists
// are in memory_lasting.go.
//
// # Redis
//
// A link (redis_link.go) is a node's way to Redis: how to connect, what things are
// called, what is known of Redis' health, and how long all of it lives. These
// stand on it, each with its own connections and goroutine, and know each other
// by a few methods only:
//
//   - the publisher (redis_publisher.go: the queue; redis_send.go: the round trips);
//   - the subscriber (redis_subscriptions.go: what is wanted and confirmed;
//     redis_subscriber.go: the connection);
//   - the canary (redis_canary.go), which proves that messages arrive;
//   - the lists (redis_lasting.go: what callers see; redis_lasting_loop.go: the round
//     trips);
//   - the seats (redis_seats.go: what callers see; redis_seats_loop.go: the round
//     trips; redis_seats_beat.go: the node's name; redis_seats_script.go).
//
// Redis (redis.go) composes them. What comes next, such as streams, presence and the
// outbox, stands on the link in the same way. Every key and channel is named in
// keys.go. What a script or command touches lies in one partition; what concerns
// several is made of such steps, each of which may be repeated.
package broker
