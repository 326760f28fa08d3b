// Package registry is who is here: the connections of a node in tables by number, user
// and channel, and the rules for what is kept of them and declared to the broker.
// It has the contract between the hub and its connections: [Conn], [Message], [Cause].
//
// It knows no pushes and sends nothing. The tables declare to the broker's roster who
// comes and goes, under the lock of the part concerned, and so in order; the roster does
// not wait. All methods of [Registry] and its tables may be called concurrently.
package registry
