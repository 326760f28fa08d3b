// Package session is who is on a connection and what they may do: the ways in, in
// their order, limits, and what the backend is asked and told. It knows users,
// channels and webhooks, and no sockets or frames.
//
// A transport (package ws) embeds a [Session] by value in each of its connections and
// implements [Transport]; a [Protocol] (packages below protocol) turns a client's
// bytes into calls of the [Engine], and messages of the hub into bytes.
//
// All methods of Engine may be called concurrently. It never blocks in a transport's
// reader, except in Admit, which is the handshake.
package session
