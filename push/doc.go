// Package push decides who gets what: the hub (this node's table of connections),
// targets, the publisher (idempotency, fan-out, counts), and the push API with
// its listener and client.
//
// It never touches a socket: a connection is the small interface [Conn]. Frames
// are encoded by the connection's protocol, once per protocol and message.
//
// All methods may be called concurrently. To one destination, every connection
// sees messages in the order in which the broker took them.
package push
