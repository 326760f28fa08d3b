// Package ws is the life of a WebSocket connection: handshake (origin, limits,
// credentials), reading and writing, the outbox, the protocols (raw), drain, and
// the one list of close codes (RFC 6455, SPEC §4).
//
// On Linux a connection belongs to a poller: a goroutine in a blocking epoll_wait
// that reads, parses and unmasks in one shared buffer. An idle connection holds
// neither goroutine nor timer nor buffer; over TLS, none but those of crypto/tls.
// Other systems take the goroutine path behind the same small interface, socket.
//
// Who may touch what: the fields of a Conn above mu belong to its reader (the
// poller, or the connection's reading goroutine); those below mu are guarded by
// it. System calls on a descriptor happen under mu or on the poller that owns it;
// only the poller closes it, so a reused descriptor is never another client's.
// Nothing that can wait (webhook, broker, hub) is called under mu.
//
// Send, Close and all methods of Server may be called from any goroutine.
package ws
