package ws

import (
	"encoding/binary"
	"errors"
)

// Opcodes of RFC 6455 §5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

const (
	finBit        = 0x80
	rsvBits       = 0x70
	rsv1          = 0x40 // the message is compressed (RFC 7692 §6)
	opcodeBits    = 0x0f
	controlBit    = 0x08 // of opcodes
	maskBit       = 0x80
	maxControl    = 125
	maxHeaderSize = 14 // 2 + 8 bytes of length + 4 of mask
)

// header is a frame head as a client sends it.
type header struct {
	op     byte
	fin    bool
	rsv    byte
	masked bool
	key    [4]byte
	length int64
	size   int // of the head itself
}

// errHeaderLength is a length that RFC 6455 §5.2 forbids: not minimal, or with
// the highest bit set.
var errHeaderLength = errors.New("ws: bad frame length")

// parseHeader reads a frame head from the start of b. ok is false while bytes
// are missing.
func parseHeader(b []byte) (h header, ok bool, err error) {
	if len(b) < 2 {
		return h, false, nil
	}
	h.fin, h.rsv, h.op = b[0]&finBit != 0, b[0]&rsvBits, b[0]&opcodeBits
	h.masked, h.size = b[1]&maskBit != 0, 2
	switch n := b[1] &^ maskBit; n {
	case 126:
		if len(b) < 4 {
			return h, false, nil
		}
		h.length, h.size = int64(binary.BigEndian.Uint16(b[2:])), 4
		if h.length < 126 {
			return h, true, errHeaderLength
		}
	case 127:
		if len(b) < 10 {
			return h, false, nil
		}
		u := binary.BigEndian.Uint64(b[2:])
		if u>>63 != 0 || u <= 0xffff {
			return h, true, errHeaderLength
		}
		h.length, h.size = int64(u), 10
	default:
		h.length = int64(n)
	}
	if h.masked {
		if len(b) < h.size+4 {
			return h, false, nil
		}
		copy(h.key[:], b[h.size:])
		h.size += 4
	}
	return h, true, nil
}

// unmask applies the masking key to b in place; pos is how many payload bytes
// came before (RFC 6455 §5.3).
func unmask(b []byte, key [4]byte, pos int) {
	if pos &= 3; pos != 0 {
		key = [4]byte{key[pos], key[(pos+1)&3], key[(pos+2)&3], key[(pos+3)&3]}
	}
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	k |= k << 32
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
}

// appendHeader appends the head of an unfragmented, unmasked frame.
func appendHeader(dst []byte, op byte, length int) []byte {
	switch {
	case length < 126:
		return append(dst, finBit|op, byte(length))
	case length <= 0xffff:
		return append(dst, finBit|op, 126, byte(length>>8), byte(length))
	}
	dst = append(dst, finBit|op, 127)
	return binary.BigEndian.AppendUint64(dst, uint64(length))
}

// newFrame returns a whole frame.
func newFrame(op byte, payload []byte) []byte {
	return appendFrame(make([]byte, 0, 10+len(payload)), op, payload)
}

func appendFrame(dst []byte, op byte, payload []byte) []byte {
	return append(appendHeader(dst, op, len(payload)), payload...)
}
