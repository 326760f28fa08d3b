package http1

import (
	"bytes"
	"slices"
)

// Relay is Scan for a body that goes on to another reader: out is what to send for
// the n bytes. It is p[:n], but for trailers: they are held back until their end, and
// those that could steer the reader are left out (RFC 9110 §6.5.1).
func (c *Chunks) Relay(p []byte) (out []byte, n int, done bool, err error) {
	n, done, err = c.Scan(p)
	if c.trailers == nil {
		return p[:n], n, done, err
	}
	out = p[:n-min(n, c.line)] // line counts from the first trailer on
	if done {
		out = slices.Concat(out, c.trailers, crlf)
	}
	return out, n, done, err
}

var crlf = []byte("\r\n")

func (c *Chunks) trailer(b byte) error {
	if c.line++; c.line > MaxHead {
		return ErrTrailerLength
	}
	switch {
	case c.state == atTrailer && b == '\r':
		c.state = wantLastLF
		return nil
	case c.state == wantLastLF:
		return c.expect(b, '\n', chunksDone, ErrTrailer)
	}
	c.trailers = append(c.trailers, b)
	switch c.state {
	case atTrailer:
		c.state = inTrailerName
		return c.trailerName(b, true)
	case inTrailerName:
		return c.trailerName(b, false)
	case inTrailerValue:
		if b == '\r' {
			c.state = wantTrailerLF
		} else if classes[b]&isText == 0 {
			return ErrTrailer
		}
		return nil
	}
	c.endTrailer()
	return c.expect(b, '\n', atTrailer, ErrTrailer)
}

func (c *Chunks) trailerName(b byte, first bool) error {
	if b == ':' && !first {
		c.state = inTrailerValue
		return nil
	}
	if classes[b]&isToken == 0 {
		return ErrTrailer
	}
	return nil
}

// endTrailer looks at the line that trailers ends with.
func (c *Chunks) endTrailer() {
	start := bytes.LastIndexByte(c.trailers[:len(c.trailers)-1], '\n') + 1
	name := c.trailers[start:]
	if steers(name[:bytes.IndexByte(name, ':')]) {
		c.trailers = c.trailers[:start]
	}
}

// steering are the fields that may not be trailers: a reader that merges them into
// its header would take them for what frames, routes, authenticates or describes the
// message.
var steering = map[string]bool{
	"content-length": true, "transfer-encoding": true, "content-encoding": true, "content-range": true, "content-type": true,
	"host": true, "connection": true, "keep-alive": true, "te": true, "trailer": true, "upgrade": true, "expect": true,
	"max-forwards": true, "range": true, "cache-control": true, "pragma": true,
	"authorization": true, "www-authenticate": true, "cookie": true, "set-cookie": true,
	"forwarded": true, "via": true, "x-real-ip": true,
}

// steeringPrefixes are as steering, for families of names.
var steeringPrefixes = []string{"x-forwarded-", "proxy-", "if-"}

func steers(name []byte) bool {
	folded := string(bytes.ReplaceAll(bytes.ToLower(name), []byte("_"), []byte("-")))
	if steering[folded] {
		return true
	}
	for _, prefix := range steeringPrefixes {
		if len(folded) >= len(prefix) && folded[:len(prefix)] == prefix {
			return true
		}
	}
	return false
}
