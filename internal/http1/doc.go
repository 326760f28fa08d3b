// Package http1 is the strict HTTP/1 parser of the public listener (RFC 9110,
// 9112), shared by pass-through and the WebSocket handshake: request heads,
// response heads and chunked bodies. What it accepts means one thing only;
// everything else is an [Error] that says which status to answer.
//
// It does no I/O. A parsed head aliases the bytes it was parsed from. Values are
// not for concurrent use.
package http1
