package ws

import (
	"testing"
	"unsafe"
)

// A megabyte of two-byte frames used to be counted as such while the queue took
// sixteen: clients that stop reading could make the node hold many times
// outbox.total where outbox.messages was large.
func TestOutbox_CountsWhatSmallFramesReallyTake(t *testing.T) {
	const frames = 1000
	fill := func() *outbox {
		o := &outbox{}
		for range frames {
			o.push(item{frame: []byte{0x81, 0}})
		}
		return o
	}
	empty := func(name string, o *outbox) {
		t.Helper()
		if o.bytes != 0 {
			t.Errorf("%s: %d bytes are left of an empty outbox", name, o.bytes)
		}
	}
	o := fill()
	if least := frames * int(unsafe.Sizeof(item{})); o.bytes < least {
		t.Errorf("%d frames count %d bytes, their queue alone takes %d", frames, o.bytes, least)
	}
	scratch := make([]byte, 0, 64)
	for o.len() > 0 {
		chunk := o.chunk(scratch)
		o.advance(1, nil)
		o.advance(len(chunk)-1, nil)
	}
	empty("written", o)
	o = fill()
	o.drop(nil)
	empty("given up", o)
	o = fill()
	o.chunk(scratch)
	o.advance(1, nil)
	o.drop(nil)
	o.advance(len(o.chunk(scratch)), nil)
	empty("given up but for what was begun", o)
}
