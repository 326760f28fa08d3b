package ids

import (
	crand "crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"
)

// Ids are 64 bits in base32: 13 characters of this alphabet, the last of which
// carries 4 bits.
const (
	idAlphabet = "0123456789abcdefghijklmnopqrstuv"
	idLength   = 13
)

// NewNodeID makes the id of a process, unique per start.
func NewNode() string {
	var b [8]byte
	_, _ = crand.Read(b[:]) // never fails (crypto/rand)
	return string(appendID(nil, binary.BigEndian.Uint64(b[:])))
}

func appendID(b []byte, n uint64) []byte {
	for shift := 59; shift >= 0; shift -= 5 {
		b = append(b, idAlphabet[n>>shift&31])
	}
	return append(b, idAlphabet[n<<1&31])
}

// parseID is appendID's inverse; ok is false for what appendID does not write.
func parseID(s string) (n uint64, ok bool) {
	if len(s) != idLength {
		return 0, false
	}
	for i := range idLength {
		v := digit(s[i])
		if v > 31 {
			return 0, false
		}
		if i == idLength-1 {
			return n<<4 | v>>1, v&1 == 0
		}
		n = n<<5 | v
	}
	return 0, false
}

func digit(c byte) uint64 {
	switch {
	case '0' <= c && c <= '9':
		return uint64(c - '0')
	case 'a' <= c && c <= 'v':
		return uint64(c-'a') + 10
	}
	return 32
}

// connectionID is the id that clients and backends see: the node's, then the
// connection's own.
func Connection(node string, n uint64) string {
	b := make([]byte, 0, 2*idLength+1)
	return string(appendID(append(append(b, node...), '-'), n))
}

// parseConnectionID is connectionID's inverse.
func ParseConnection(s string) (node string, n uint64, ok bool) {
	node, own, found := strings.Cut(s, "-")
	if !found {
		return "", 0, false
	}
	if _, ok := parseID(node); !ok {
		return "", 0, false
	}
	n, ok = parseID(own)
	return node, n, ok
}

// numbers gives each connection of a node its own. Clients see them, and should
// not learn from them how many others there are: a counter is enciphered with a
// key that only this process knows, which keeps all numbers different.
type Numbers struct {
	key  [4]uint32
	last atomic.Uint64
}

func NewNumbers() *Numbers {
	var b [16]byte
	_, _ = crand.Read(b[:])
	n := &Numbers{}
	for i := range n.key {
		n.key[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	return n
}

func (n *Numbers) Next() uint64 { return n.encipher(n.last.Add(1)) }

// encipher is XTEA, a 64-bit block cipher that fits in ten lines.
func (n *Numbers) encipher(block uint64) uint64 {
	const delta = 0x9e3779b9
	v0, v1, sum := uint32(block>>32), uint32(block), uint32(0)
	for range 32 {
		v0 += (v1<<4 ^ v1>>5) + v1 ^ (sum + n.key[sum&3])
		sum += delta
		v1 += (v0<<4 ^ v0>>5) + v0 ^ (sum + n.key[sum>>11&3])
	}
	return uint64(v0)<<32 | uint64(v1)
}

// newID makes a UUIDv7 (RFC 9562 §5.7): it sorts by time.
func NewUUID() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(time.Now().UnixMilli())<<16|rand.Uint64()&0xfff)
	binary.BigEndian.PutUint64(b[8:], rand.Uint64())
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	text := make([]byte, 0, 36)
	for i, part := range [...][]byte{b[:4], b[4:6], b[6:8], b[8:10], b[10:]} {
		if i > 0 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, part)
	}
	return string(text)
}
