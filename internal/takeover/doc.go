// Package takeover lets a TLS connection leave Go's netpoller.
//
// The proxy wraps every TCP connection that it speaks TLS over in a [Conn]. When
// the connection becomes a WebSocket, its new owner takes the descriptor with
// [Conn.Take]; from then on crypto/tls reads and writes without ever waiting, and
// the owner decides when it does. Before Take a Conn is the connection it wraps.
package takeover
