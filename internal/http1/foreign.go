package http1

// What is spoken to a port of HTTP/1.1 by those that were set up for another one.
var (
	ErrTLS     = bad("this is TLS, but plain HTTP/1.1 is spoken here")
	ErrHTTP2   = bad("this is HTTP/2, but only HTTP/1.1 is spoken here: a front has to use it towards pushcart")
	ErrProxyV1 = bad("this is the PROXY protocol (version 1), which is not spoken here: let the front send X-Forwarded-For")
	ErrProxyV2 = bad("this is the PROXY protocol (version 2), which is not spoken here: let the front send X-Forwarded-For")
)

var foreign = []struct {
	prefix string
	err    *Error
}{
	{"\x16\x03", ErrTLS}, // a record of the handshake
	{"PRI * HTTP/2", ErrHTTP2},
	{"PROXY TCP", ErrProxyV1},
	{"PROXY UNKNOWN", ErrProxyV1},
	{"\r\n\r\n\x00\r\nQUIT\n", ErrProxyV2},
	{"\x00\r\nQUIT\n", ErrProxyV2}, // behind what looks like two empty lines
}

// Foreign names the protocol of what is not an HTTP/1.1 request by its first bytes,
// five at least; nil if it is not known.
func Foreign(b []byte) *Error {
	for _, f := range foreign {
		n := min(len(b), len(f.prefix))
		if n >= min(5, len(f.prefix)) && string(b[:n]) == f.prefix[:n] {
			return f.err
		}
	}
	return nil
}
