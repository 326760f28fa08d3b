// Package answers carries what nodes answer each other: [Outgoing] sends this node's
// receipts and replies, [Waiters] collect those of other nodes for who asked.
// All methods may be called concurrently.
package answers
