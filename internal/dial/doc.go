// Package dial connects to HTTP servers: the backend, and what webhooks, forward
// and key sets ask. A server is named by a URL with a host (every address of its
// name is tried, IPv4 and IPv6) or by a unix socket.
//
// All methods may be called concurrently.
package dial
