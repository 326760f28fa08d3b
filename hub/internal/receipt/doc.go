// Package receipt counts what becomes of a push's messages on one node, for a publisher
// that waits: what was written to sockets, what was too slow, and what clients confirmed.
// All functions and methods may be called concurrently.
package receipt
