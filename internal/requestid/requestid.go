package requestid

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// Header carries the id.
const Header = "X-Request-Id"

// longest is what an id may have, in bytes; UUIDs have 36, a trace of W3C 55.
const longest = 128

// Good says whether an id of somebody else may be used: short, and of characters that
// mean nothing in headers, logs and shells.
func Good(id []byte) bool {
	if len(id) == 0 || len(id) > longest {
		return false
	}
	for _, c := range id {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == ':', c == '+', c == '/', c == '=', c == '@', c == ',':
		default:
			return false
		}
	}
	return true
}

// Append appends a new id, a UUID of version 7 (RFC 9562 §5.7).
func Append(b []byte, now time.Time) []byte {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(now.UnixMilli())<<16|rand.Uint64()&0x0fff|0x7000)
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()&(1<<62-1)|1<<63)
	for i, part := range [...][2]int{{0, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 16}} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, id[part[0]:part[1]])
	}
	return b
}
