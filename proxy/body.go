package proxy

import (
	"github.com/pushcart/pushcart/internal/http1"
)

// body follows a message's body as it passes.
type body struct {
	left    int64 // of a stated length
	chunked bool
	chunks  http1.Chunks
	toClose bool // until the connection ends
}

func newBody(length int64, chunked bool) body { return body{left: max(0, length), chunked: chunked} }

// done says whether all of it passed.
func (b *body) done() bool {
	switch {
	case b.chunked:
		return b.chunks.Done()
	case b.toClose:
		return false
	}
	return b.left == 0
}

// short says that what is left is small and known: it counts as no stream.
func (b *body) short() bool { return !b.chunked && !b.toClose && b.left < shortBody }

const shortBody = 256 << 10

// relay returns how many of p belong to the body, and what to send on for them,
// which may be nothing yet.
func (b *body) relay(p []byte) (out []byte, n int, err error) {
	switch {
	case b.chunked:
		out, n, _, err = b.chunks.Relay(p)
		return out, n, err
	case b.toClose:
		return p, len(p), nil
	}
	n = int(min(int64(len(p)), b.left))
	b.left -= int64(n)
	return p[:n], n, nil
}
