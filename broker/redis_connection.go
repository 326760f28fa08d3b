package broker

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// connection is one connection to one server, whose name it knows. It is never made
// anew behind its owner's back: what is sent on it goes to that server or nowhere.
type connection struct {
	*redis.Client
	// server names what is stored there and where it came from: the replication id.
	// Another server that went on from a copy has another one (SPEC §8).
	server string
}

// errCut: the connection ended. Its owner makes another.
var errCut = errors.New("the connection to redis ended")

// open connects, loads scripts and asks the server for its name.
func (l *link) open(ctx context.Context, scripts ...string) (*connection, error) {
	o := *l.options
	o.ConnMaxIdleTime = -1 // a pool would close it behind our back
	var dialled atomic.Bool
	o.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dialled.Swap(true) {
			return nil, errCut
		}
		return l.options.Dialer(ctx, network, address)
	}
	c := &connection{Client: redis.NewClient(&o)}
	if err := l.greet(ctx, c, scripts); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// greet is the first round trip; it may be repeated, as the name changes when a replica
// becomes a master. A script that could not be loaded is missed by what
// needs it.
func (l *link) greet(ctx context.Context, c *connection, scripts []string) error {
	pipe := c.Pipeline()
	info := pipe.Info(ctx, "replication")
	memory := pipe.Info(ctx, "memory")
	for _, source := range scripts {
		pipe.ScriptLoad(ctx, source)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	var answer redis.Error
	err := info.Err()
	switch {
	case err == nil:
		c.server = infoField(info.Val(), "master_replid")
	case !errors.As(err, &answer):
		return err
	}
	if c.server == "" {
		c.server = l.options.Addr
		l.health.rate.Warn("no replication id", "redis does not tell its replication id: a failover that loses messages may go unnoticed",
			"key", "redis.username", "server", c.server, "err", err)
	}
	l.watchEviction(infoField(memory.Val(), "maxmemory_policy"))
	return nil
}

// watchEviction warns of a server that may remove what is promised to be kept.
func (l *link) watchEviction(policy string) {
	if policy == "" || policy == "noeviction" || l.policy.Swap(&policy) != nil {
		return
	}
	l.log.Warn("redis may evict what is kept in it: history, ids of pushes and seats of users can disappear; "+
		"set maxmemory-policy noeviction", "key", "redis.addresses", "maxmemory-policy", policy)
}

// infoField finds a line NAME:VALUE of an answer to INFO.
func infoField(info, name string) string {
	lines := bufio.NewScanner(strings.NewReader(info))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
