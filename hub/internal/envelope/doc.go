// Package envelope is what goes between nodes, as bytes: pushes, receipts, and the
// frame of requests and replies, whose JSON is the hub's.
//
// It delivers nothing. Envelopes and receipts are values of their caller; [Bulks] may be
// used concurrently.
package envelope
