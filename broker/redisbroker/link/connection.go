package link

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker/internal/record"
	"github.com/pushcart/pushcart/config"
)

// connection is one connection to one server, whose name it knows. It is never
// replaced behind its owner's back: what is sent on it goes to that server or nowhere.
type connection struct {
	*redis.Client
	// server names what is stored there and where it came from: the replication id.
	// Another server that went on from a copy has another one (SPEC §8).
	server string
	name   []byte // server
	// era is that of the shard when the connection was made.
	era int64
}

// errCut: the connection ended before anything was sent.
var errCut = errors.New("the connection to redis ended")

// replicaName begins the name of a server that is a replica.
const replicaName = "replica-"

// errMoved: not all connections are to one server.
var errMoved = errors.New("redis is another server than before")

// errNoMaster: who is named as the master is not, or not yet, one.
var errNoMaster = errors.New("the sentinels name a server that is a replica")

// dial returns a client with one connection to a server, which is made with its first
// command.
func (l *Link) dial(address string) *redis.Client {
	o := *l.options
	o.Addr = address
	return redis.NewClient(&o)
}

// Connect returns a client with one connection to a shard, which is made with its first
// command. It is for subscriptions, which a Line has none of.
// Whoever has one learns from the shard's Era whether that is to be left.
func (l *Link) Connect(s *Shard) *redis.Client { return l.dial(s.lastAt()) }

// open connects to a shard, loads scripts and asks the server for its name.
func (l *Link) open(ctx context.Context, s *Shard, scripts []string) (*connection, error) {
	at, err := s.locate(ctx)
	if err != nil {
		return nil, err
	}
	o := *l.options
	o.Addr = at
	o.ConnMaxIdleTime = -1 // a pool would close it behind our back
	var greeted atomic.Bool
	o.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		if greeted.Load() {
			return nil, errCut
		}
		return l.options.Dialer(ctx, network, address)
	}
	c := &connection{Client: redis.NewClient(&o)}
	if err := l.greet(ctx, c, s, scripts); err != nil {
		_ = c.Close()
		return nil, err
	}
	greeted.Store(true)
	if err := s.confirm(ctx, at, c.server); err != nil {
		_ = c.Close()
		return nil, err
	}
	s.agree(c.server)
	c.era = s.era.Load()
	if now := s.lastAt(); now != at {
		_ = c.Close()
		return nil, fmt.Errorf("%w: at %s, no longer at %s", errMoved, now, at)
	}
	return c, nil
}

// greet is the first round trip; it may be repeated, as the name changes when a replica
// becomes a master. A script that could not be loaded is missed by what
// needs it.
func (l *Link) greet(ctx context.Context, c *connection, s *Shard, scripts []string) error {
	pipe := c.Pipeline()
	hello := pipe.Do(ctx, "hello")
	server := pipe.Info(ctx, "server")
	info := pipe.Info(ctx, "replication")
	memory := pipe.Info(ctx, "memory")
	for _, source := range scripts {
		pipe.ScriptLoad(ctx, source)
	}
	_, _ = exec(ctx, pipe) // each command has its own error
	if err := info.Err(); selectRefused(err) {
		return l.checkMode(s, config.RedisCluster)
	} else if err != nil && !forbidden(err) {
		return err
	}
	if err := checkVersion(cmp.Or(helloField(hello.Val(), "version"), infoField(server.Val(), "redis_version"))); err != nil {
		return err
	}
	if hello.Err() == nil {
		if err := l.checkMode(s, helloMode(hello.Val())); err != nil {
			return err
		}
	}
	replica := infoField(info.Val(), "role") == "slave" || helloField(hello.Val(), "role") == "replica"
	if replica && s.master {
		return fmt.Errorf("%w: %s", errNoMaster, c.Options().Addr)
	}
	c.server = infoField(info.Val(), "master_replid")
	switch {
	case replica:
		// It has its master's name until it is one. Then it may lack what that master
		// had, so that this name must not be found in any record.
		c.server = replicaName + record.NewEpoch()
	case c.server == "":
		c.server = c.Options().Addr
		l.rate.Warn("no replication id", "redis does not tell its replication id: a failover that loses messages may go unnoticed",
			"key", "redis.username", "server", c.server, "err", info.Err())
	}
	c.name = []byte(c.server)
	l.watchEviction(infoField(memory.Val(), "maxmemory_policy"))
	return nil
}

// exec sends a pipeline. go-redis leaves commands without an error that were not sent as the
// connection could not be made, or was refused.
func exec(ctx context.Context, pipe redis.Pipeliner) ([]redis.Cmder, error) {
	cmds, err := pipe.Exec(ctx)
	if err == nil || slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return c.Err() != nil }) {
		return cmds, err
	}
	for _, c := range cmds {
		c.SetErr(err)
	}
	return cmds, err
}

// forbidden: the ACL, or a name given to it, keeps a command from us.
func forbidden(err error) bool {
	return redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, "unknown command")
}

// watchEviction warns of a server that may remove what is promised to be kept.
func (l *Link) watchEviction(policy string) {
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
