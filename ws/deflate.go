package ws

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"sync"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"

	"github.com/pushcart/pushcart/hub"
)

// minDeflate is from how many bytes on messages are compressed; below, the frame
// gains next to nothing.
const minDeflate = 128

// flushed is what a sync flush ends with, and what RFC 7692 §7.2.1 takes off; the
// final block behind it ends the stream for the reader.
const flushed = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// deflate returns a compressed frame. The compressor keeps no state between
// messages, and costs no more than one that does.
func deflate(op byte, payload []byte) []byte {
	out := bytes.NewBuffer(make([]byte, 0, 64+len(payload)/2))
	_ = flate.StatelessDeflate(out, payload, false, nil) // a bytes.Buffer does not fail
	compressed := bytes.TrimSuffix(out.Bytes(), []byte(flushed[:4]))
	f := newFrame(op, compressed)
	f[0] |= rsv1
	return f
}

// compressedLimit is how long a message may be that was compressed: what cannot be
// compressed grows by a little (RFC 1951 §3.2.4).
func compressedLimit(most int64) int64 { return most + most>>6 + 64 }

// inflater decompresses the messages of clients, in as many goroutines as there
// are cores, as pollers must not be kept from their other connections. A
// connection has at most one message here, since it is not read meanwhile.
type inflater struct {
	work sync.WaitGroup

	mu      sync.Mutex // guards all below
	queue   []deflated
	workers int
}

// deflated is a compressed message of c.
type deflated struct {
	c    *Conn
	op   byte
	data []byte
}

func (q *inflater) push(d deflated) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = append(q.queue, d)
	if q.workers < runtime.GOMAXPROCS(0) {
		q.workers++
		q.work.Go(q.run)
	}
}

// waiting is how many messages wait.
func (q *inflater) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queue)
}

func (q *inflater) next() (deflated, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		q.queue = nil
		q.workers--
		return deflated{}, false
	}
	d := q.queue[0]
	q.queue[0] = deflated{}
	q.queue = q.queue[1:]
	return d, true
}

func (q *inflater) run() {
	for d, ok := q.next(); ok; d, ok = q.next() {
		d.inflate()
		runtime.Gosched() // a flood here must not keep pollers from a core
	}
}

func (d *deflated) inflate() {
	defer d.c.srv.guard.Recover("compressed message", d.c.broken)
	p, fault := inflate(d.data, d.op, d.c.srv.maxMessage)
	d.c.inflated(d.op, p, fault)
}

// readers are the decompressors that are not in use.
var readers = sync.Pool{New: func() any { return flate.NewReader(nil) }}

// inflate decompresses a message of at most most bytes; more than that is never
// held. data is its own to change.
func inflate(data []byte, op byte, most int64) ([]byte, *hub.Cause) {
	from := bytes.NewReader(append(data, flushed...))
	r := readers.Get().(io.ReadCloser)
	defer readers.Put(r)
	if err := r.(flate.Resetter).Reset(from, nil); err != nil {
		return nil, endInternal
	}
	out := make([]byte, 0, min(most, 4*int64(len(data))+64)+1)
	for {
		if int64(len(out)) > most {
			return nil, endTooBig
		}
		if len(out) == cap(out) {
			out = append(make([]byte, 0, min(most+1, 2*int64(cap(out)))), out...)
		}
		n, err := r.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, endInflate
		}
	}
	switch {
	case int64(len(out)) > most:
		return nil, endTooBig
	case from.Len() > len(flushed)+1: // of a final block of the client's own, padded (RFC 7692 §7.2.3.4)
		return nil, endInflate
	case op == opText && !utf8.Valid(out):
		return nil, endUTF8
	}
	return out, nil
}
