// Package http1 is the strict HTTP/1 head parser of the public listener (RFC
// 9112), shared by pass-through and the WebSocket handshake: what it accepts
// means one thing only, everything else is an error that the caller answers with
// 400. It does no I/O. A parsed head aliases the bytes it was parsed from.
package http1
