package link

import (
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// errPlaceless is for a command that no server can be found for: a mistake in this program.
var errPlaceless = errors.New("a command without a partition")

// placeOf is where a command belongs, by its key or channel: the partition whose tag that
// carries; -1 if there is none.
func placeOf(c redis.Cmder) int {
	args := c.Args()
	at := 1
	if name, _ := args[0].(string); name == "evalsha" || name == "eval" {
		at = 3
	}
	if at >= len(args) {
		return -1
	}
	key, _ := args[at].(string)
	return placeOfKey(key)
}

// placeOfKey is placeOf for a key. A tag begins with the number of its partition.
func placeOfKey(key string) int {
	i := strings.IndexByte(key, '{')
	if i < 0 {
		return layoutPlace
	}
	p, digits := 0, 0
	for i++; i < len(key) && '0' <= key[i] && key[i] <= '9' && digits < 3; i++ {
		p, digits = 10*p+int(key[i]-'0'), digits+1
	}
	if digits == 0 || p >= Partitions {
		return -1
	}
	return p
}

// PartitionsOf is the partition that a command is about, as a bit; 0: none, as the layout.
func PartitionsOf(c redis.Cmder) uint64 {
	if p := placeOf(c); p >= 0 && p < Partitions {
		return 1 << p
	}
	return 0
}

// ChannelPartition is the partition of a pub/sub channel that one of Keys' methods named.
func ChannelPartition(channel string) int {
	if p := placeOfKey(channel); p >= 0 && p < Partitions {
		return p
	}
	return 0
}
