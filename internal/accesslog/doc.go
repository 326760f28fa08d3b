// Package accesslog writes a line for each request, handshake and push, as text or
// JSON that looks like slog's. It builds lines itself, as slog would cost more than a
// seventh of a proxied request.
//
// A Log does not change; all its methods may be called concurrently, and on nil, which
// writes nothing. Nothing that carries credentials comes into a line: it takes no
// headers but Host and the request's id, and of a query string not the values of
// parameters that carry tokens.
package accesslog
