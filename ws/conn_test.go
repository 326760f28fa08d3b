package ws

import (
	"testing"
	"unsafe"
)

// 240 is a size class of Go's allocator; the next is 256.
func TestConn_TakesNoMoreThanPromised(t *testing.T) {
	if got := unsafe.Sizeof(Conn{}); got > 240 {
		t.Errorf("%d bytes, want at most 240", got)
	}
}
