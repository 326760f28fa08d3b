// Package broker has the contracts for what nodes share: Broker and Streams for messages,
// Lasting for lists of names, Roster for who is connected, Outbox for the events that the
// backend gets about that, Seats for connection limits. Broker and Streams know topics
// and bytes, never users, connections or frames. The others know users, channels and
// connections by name.
//
// Two packages implement them: broker/memory for one node, broker/redisbroker for many.
// Both promise, and brokertest checks: messages of one topic reach every subscribed node
// in one order, the order in which the broker accepted them; a node that is not
// subscribed gets nothing; Publish says how many nodes it went to; an idempotency key is
// checked and recorded in the same step as the publish.
//
// All methods may be called concurrently. The Receiver is called from the
// broker's goroutines, one call at a time per topic; it must never block.
//
// # Words
//
// A topic is a destination; a channel, in these packages, is the Redis pub/sub channel of
// a topic. A seat is a user's place among limits.connections_per_user, which one
// connection has at a time; it never means anything else. A list is a set of names stored
// with a topic: a user's lasting subscriptions. A lease keeps a node's name counted as
// long as it is renewed. A partition is one of 64 parts of all names, each with a hash
// tag in Redis.
package broker
