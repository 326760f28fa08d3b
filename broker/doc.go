// Package broker carries messages between nodes: in memory for one node, or
// through Redis. It knows topics and bytes, never users, connections or frames; only
// Seats, which stand beside the Broker, count users' connections, by their names.
//
// What both brokers promise, and brokertest holds them to: messages of one topic
// reach every subscribed node in one order, the order in which the broker took
// them; a node that is not subscribed gets nothing; Publish says how many nodes
// it went to; an idempotency key is checked and recorded in the same step as the
// publish.
//
// All methods may be called concurrently. The Receiver is called from the
// broker's goroutines, one call at a time per topic; it must never block.
package broker
