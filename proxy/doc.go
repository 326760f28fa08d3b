// Package proxy is the public listener: it reads request heads strictly, hands
// WebSocket handshakes on the configured paths to the handler in Options, and
// passes everything else to the backend and back as an exchange of raw bytes
// (SPEC §7).
//
// A connection has one goroutine, and a second one only while a request body or
// a tunnel goes up at the same time as something comes down. A goroutine that
// waits for bytes holds no buffer. Between two requests a connection is soon parked:
// a bare descriptor, without a goroutine or anything else of Go's. There are no
// timers: one watcher compares every connection's deadline with a coarse clock.
//
// The package never decodes or cleans a path, never buffers a body, and adds
// nothing to a message but the forwarding headers. Its exported methods may be
// called concurrently.
package proxy
