// Package broker is what goes between nodes, as contracts: Broker and Streams for
// messages, Lasting for lists of names, Roster for who is here, Outbox for what the
// backend is to be told of it, Seats for places. Broker and Streams know topics and
// bytes, never users, connections or frames. The others know users, channels and
// connections by name.
//
// Two packages fulfil them: broker/memory for one node, broker/redisbroker for many.
// What both promise, and brokertest holds them to: messages of one topic
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
// A topic is a destination; a channel, in these packages, is the Redis pub/sub channel
// of a topic. A seat is a user's place among limits.connections_per_user, which one
// connection has at a time; it never means anything else. A list is names that are kept
// with a topic: a user's lasting subscriptions. A lease keeps a node's name counted while
// it is renewed. A partition is one of 64 parts of all names, each with a hash tag in
// Redis.
package broker
