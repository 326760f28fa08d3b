package roster

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/internal/ratelog"
)

// Partitions is how many parts names are spread over.
const Partitions = link.Partitions

// Link is this node's way to Redis.
type Link interface {
	// Node is this node's id, which is another one after each start.
	Node() string
	// Context ends when the node does.
	Context() context.Context
	// UpFor says whether Redis delivers what is of a partition, as far as is known.
	UpFor(partition int) bool
	// Partition is where a name belongs.
	Partition(name string) int
	// Keys begins the keys of a partition, Channels its pub/sub channels.
	Keys(p int) string
	Channels(p int) string
	// Line returns a way to Redis for one goroutine, with scripts loaded whenever it
	// connects.
	Line(scripts ...string) Line
	// Run has a loop run until the node ends, which waits for its return.
	Run(where string, loop func())
	// Listen has take called with what is published on a channel Channels(p)+topic, and
	// confirmed whenever messages begin to come: earlier ones may be lost. Call it
	// before the node starts. Neither may block.
	Listen(p int, topic string, take func(payload string), confirmed func())
	// Log is where what is refused or lost is written.
	Log() *ratelog.Logger
}

// Line is one goroutine's way to Redis.
type Line interface {
	// Exchange sends what fill adds to a pipeline and waits for the answers. Each command
	// is about one partition and has its own error; err says that nothing was sent. fill
	// may be called again. After an answer of a server that must not be used the next
	// commands go out on a new connection.
	Exchange(ctx context.Context, fill func(redis.Pipeliner)) (cmds []redis.Cmder, err error)
	// Failed are the partitions, as bits, to whose commands in the last exchange no answers
	// came, or none that count. Call it after an Exchange without an error.
	Failed() uint64
	// HangUp has the next commands go out on a new connection.
	HangUp()
}
