package push

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"sync/atomic"
)

// base32 in lower case, without padding: 8 bytes are 13 characters.
var ids = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

const idLength = 13

// NewNodeID makes the id of a process, unique per start.
func NewNodeID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return ids.EncodeToString(b[:])
}

// connectionIDs numbers the connections of a node. The numbers are scattered by a
// bijection with a secret key, as their ids are seen by clients, which should not
// learn how many others there are.
type connectionIDs struct {
	key  uint64
	last atomic.Uint64
}

func newConnectionIDs() *connectionIDs {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return &connectionIDs{key: binary.LittleEndian.Uint64(b[:])}
}

func (c *connectionIDs) next() uint64 {
	x := c.last.Add(1) ^ c.key // splitmix64's finalizer: a bijection
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// connectionID is the id that clients and backends see: the node's, then the
// connection's own.
func connectionID(node string, n uint64) string {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], n)
	b := make([]byte, 0, len(node)+1+idLength)
	b = append(append(b, node...), '-')
	return string(ids.AppendEncode(b, raw[:]))
}

// parseConnectionID is connectionID's inverse.
func parseConnectionID(s string) (node string, n uint64, ok bool) {
	node, own, found := strings.Cut(s, "-")
	if !found || len(node) != idLength || len(own) != idLength {
		return "", 0, false
	}
	for i := range node {
		if !strings.Contains("0123456789abcdefghijklmnopqrstuv", node[i:i+1]) {
			return "", 0, false
		}
	}
	b, err := ids.DecodeString(own)
	if err != nil || len(b) != 8 {
		return "", 0, false
	}
	n = binary.BigEndian.Uint64(b)
	return node, n, connectionID(node, n) == s
}
