package http1

// Chunks follows a chunked body (RFC 9112 §7.1) through whatever pieces it comes
// in, to know where it ends and that it is well-formed. The zero value stands
// before the first chunk. It buffers nothing but trailers.
type Chunks struct {
	state    chunkState
	digits   int    // of the size so far
	left     int64  // bytes of the chunk's data still to come
	line     int    // length of the chunk line or of all trailers so far
	trailers []byte // their lines, those that Relay drops left out; nil before the first
}

type chunkState uint8

const (
	inSize      chunkState = iota
	wantExtName            // after ";" and white space
	inExtName
	afterExtName // and white space: "=" or ";" follows
	wantExtValue // after "=" and white space
	inExtValue
	inQuoted
	inQuotedPair
	endQuoted
	afterExtValue // and white space: ";" follows
	wantSizeLF
	inData
	wantDataCR
	wantDataLF
	atTrailer
	inTrailerName
	inTrailerValue
	wantTrailerLF
	wantLastLF
	chunksDone
)

// maxChunkLine bounds a chunk's size and extensions.
const maxChunkLine = 1 << 10

// maxChunkDigits is 16 in the grammar of most servers; the size must also fit.
const maxChunkDigits = 15

// Scan looks at p, the next bytes, and says how many of them belong to the body
// and whether it ends there. With an error, the n bytes are the last good ones.
func (c *Chunks) Scan(p []byte) (n int, done bool, err error) {
	for n < len(p) && c.state != chunksDone {
		step, _, err := c.Step(p[n:])
		n += step
		if err != nil {
			return n, false, err
		}
	}
	return n, c.state == chunksDone, nil
}

// Step is Scan up to the next change between framing and data: data says which of
// the two the n bytes are.
func (c *Chunks) Step(p []byte) (n int, data bool, err error) {
	if c.state == inData && len(p) > 0 {
		n = int(min(c.left, int64(len(p))))
		if c.left -= int64(n); c.left == 0 {
			c.state = wantDataCR
		}
		return n, true, nil
	}
	for n < len(p) && c.state != inData && c.state != chunksDone {
		if err := c.framing(p[n]); err != nil {
			return n, false, err
		}
		n++
	}
	return n, false, nil
}

// Done says whether the body has ended.
func (c *Chunks) Done() bool { return c.state == chunksDone }

func (c *Chunks) framing(b byte) error {
	switch c.state {
	case wantDataCR:
		return c.expect(b, '\r', wantDataLF, ErrChunkEnd)
	case wantDataLF:
		return c.expect(b, '\n', inSize, ErrChunkEnd)
	}
	if c.state <= wantSizeLF {
		return c.sizeLine(b)
	}
	return c.trailer(b)
}

func (c *Chunks) expect(b, want byte, next chunkState, otherwise error) error {
	if b != want {
		return otherwise
	}
	c.state = next
	return nil
}

func (c *Chunks) sizeLine(b byte) error {
	if c.line++; c.line > maxChunkLine {
		return ErrChunkLine
	}
	switch c.state {
	case inSize:
		return c.size(b)
	case wantSizeLF:
		return c.sizeEnd(b)
	}
	if c.state = afterExtension(c.state, b); c.state == inSize {
		return ErrChunkLine
	}
	return nil
}

func (c *Chunks) size(b byte) error {
	if v := Unhex(b); v >= 0 {
		if c.digits++; c.digits > maxChunkDigits {
			return ErrChunkSize
		}
		c.left = c.left<<4 | int64(v)
		return nil
	}
	if c.digits == 0 {
		return ErrChunkSize
	}
	switch b {
	case ';':
		c.state = wantExtName
	case '\r':
		c.state = wantSizeLF
	default:
		return ErrChunkSize
	}
	return nil
}

func (c *Chunks) sizeEnd(b byte) error {
	next := inData
	if c.left == 0 {
		next = atTrailer
	}
	c.digits, c.line = 0, 0
	return c.expect(b, '\n', next, ErrChunkLine)
}

// Unhex returns the value of a hexadecimal digit, -1 if b is none.
func Unhex(b byte) int {
	switch {
	case '0' <= b && b <= '9':
		return int(b - '0')
	case 'a' <= b && b <= 'f':
		return int(b-'a') + 10
	case 'A' <= b && b <= 'F':
		return int(b-'A') + 10
	}
	return -1
}
