package ws

import (
	"sync"
	"unsafe"

	"github.com/pushcart/pushcart/hub"
)

// item is a frame on its way out. msg is nil for what is not a push.
type item struct {
	frame []byte
	msg   *hub.Message
}

// size is what the item counts against the bounds: its frame, and its place in
// the queue, which for small frames is the larger part.
func (it *item) size() int { return len(it.frame) + itemSize }

const itemSize = int(unsafe.Sizeof(item{}))

// outbox is the queue of frames of a connection that did not take them at once.
// A connection has one only while something waits.
type outbox struct {
	items  []item
	head   int // first item not wholly written
	offset int // bytes of it that are written
	pinned int // items from head that a writer holds copies of
	bytes  int // sizes of the items, without what is written
	onRoom []func()
}

var outboxes = sync.Pool{New: func() any { return new(outbox) }}

func (o *outbox) len() int { return len(o.items) - o.head }

func (o *outbox) push(it item) {
	if o.head > 64 && o.head*2 >= len(o.items) {
		n := copy(o.items, o.items[o.head:])
		clear(o.items[n:])
		o.items, o.head = o.items[:n], 0
	}
	o.items = append(o.items, it)
	o.bytes += it.size()
}

// chunk returns the next bytes to write: the head frame itself when it is alone
// or large, else as many frames as fit, joined in scratch; one write for many
// frames is cheaper than one each, and than writev.
func (o *outbox) chunk(scratch []byte) []byte {
	first := o.items[o.head].frame[o.offset:]
	if o.len() == 1 || len(first) >= cap(scratch) {
		o.pinned = 1
		return first
	}
	b := append(scratch[:0], first...)
	n := 1
	for _, it := range o.items[o.head+1:] {
		if len(b)+len(it.frame) > cap(scratch) {
			break
		}
		b = append(b, it.frame...)
		n++
	}
	o.pinned = n
	return b
}

// tally counts messages that are written whole, and the bytes of their frames. What
// keeps the connection (pings, pongs, Close, the head of the 101) is none.
type tally struct{ messages, bytes int }

// add counts a frame. Control frames have a bit of their own (RFC 6455 §5.2), which
// the H of the 101 happens to have too.
func (t *tally) add(frame []byte) {
	if frame[0]&controlBit == 0 {
		t.messages++
		t.bytes += len(frame)
	}
}

// advance notes that n bytes of the last chunk are written and appends the
// messages that are thereby whole to done.
func (o *outbox) advance(n int, done []*hub.Message) (whole tally, _ []*hub.Message) {
	o.bytes -= n // and itemSize for each that is whole
	o.pinned = 0
	for n > 0 {
		it := &o.items[o.head]
		left := len(it.frame) - o.offset
		if n < left {
			o.offset += n
			return whole, done
		}
		n -= left
		if it.msg != nil {
			done = append(done, it.msg)
		}
		whole.add(it.frame)
		*it = item{}
		o.bytes -= itemSize
		o.head++
		o.offset = 0
	}
	return whole, done
}

// drop gives up whatever is not on its way already; a frame of which the peer
// has a part must be finished, or nothing after it can be read.
func (o *outbox) drop(given []*hub.Message) []*hub.Message {
	keep := o.head + o.pinned
	if o.pinned == 0 && o.offset > 0 {
		keep++
	}
	for i := keep; i < len(o.items); i++ {
		o.bytes -= o.items[i].size()
		if m := o.items[i].msg; m != nil {
			given = append(given, m)
		}
	}
	clear(o.items[keep:])
	o.items = o.items[:keep]
	return given
}

// release gives up everything and returns the outbox to the pool.
func (o *outbox) release(given []*hub.Message) []*hub.Message {
	o.pinned, o.offset = 0, 0
	given = o.drop(given)
	if cap(o.items) <= 1024 {
		clear(o.items[:cap(o.items)])
		*o = outbox{items: o.items[:0]}
		outboxes.Put(o)
	}
	return given
}
