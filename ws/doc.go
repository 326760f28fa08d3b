// Package ws is a transport: RFC 6455 on pollers. It has sockets, frames, the outbox,
// heartbeats, compression and the drain, and knows no users, channels or webhooks:
// package session decides who may connect and what happens to their messages.
//
// On Linux a connection belongs to a poller: a goroutine in a blocking epoll_wait
// that reads, parses and unmasks in one shared buffer. An idle connection holds
// neither goroutine nor timer nor buffer; over TLS, none but those of crypto/tls.
// Other systems take the goroutine path behind the same small interface, socket.
//
// Who may touch what: input and failed of a Conn belong to its reader (the poller, or
// the connection's reading goroutine); what stands below mu is guarded by it. System
// calls on a descriptor happen under mu or on the poller that owns it; only the
// poller closes it, so a reused descriptor is never another client's. Nothing that can
// wait (session, hub) is called under mu, and each region under it that calls out
// frees it by defer.
//
// Settings (heartbeat, handshake_timeout, shutdown.drain) may change while the server
// runs. Sizes (outbox, max_message_size, inbound_total) and compression apply to every
// frame and are fixed at the handshake: these, paths and subprotocols need a restart.
//
// The methods of Conn and Server may be called from any goroutine.
package ws
