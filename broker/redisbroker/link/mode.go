package link

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker/redisbroker/access"
	"github.com/pushcart/pushcart/config"
)

// errOtherMode: a server runs as something else than it did; see rediscover.
var errOtherMode = errors.New("redis runs in another mode than before")

// oldest is the first version whose commands are all that scripts need.
const oldest = 7

// modeOf asks a server what it is: standalone, sentinel or cluster, and closes the client.
// One that does not tell is taken for standalone.
func modeOf(ctx context.Context, c *redis.Client) (string, error) {
	defer c.Close()
	pipe := c.Pipeline()
	hello := pipe.Do(ctx, "hello")
	_, _ = exec(ctx, pipe)
	if err := hello.Err(); err != nil && !forbidden(err) {
		return "", err
	}
	return helloMode(hello.Val()), nil
}

func helloMode(v any) string { return cmp.Or(helloField(v, "mode"), config.RedisStandalone) }

// helloField finds a field of an answer to HELLO.
func helloField(v any, name string) (value string) {
	switch v := v.(type) {
	case map[any]any:
		value, _ = v[name].(string)
	case []any: // of a server that does not speak RESP3
		for i := 0; i+1 < len(v); i += 2 {
			if v[i] == name {
				value, _ = v[i+1].(string)
			}
		}
	}
	return value
}

// checkVersion says why a version is not used; nil: it is, or is not told.
func checkVersion(version string) error {
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < oldest {
		return access.NewFault("redis.addresses", nil, "redis %s is not used: it is older than %d.0", version, oldest)
	}
	return nil
}

// wrongMode says why a server that runs in a mode is not used as it is configured; nil: it
// is.
func (l *Link) wrongMode(found string) error {
	wanted := cmp.Or(l.mode, config.RedisAuto)
	isCluster := found == config.RedisCluster
	switch {
	case wanted != config.RedisAuto && isCluster != (wanted == config.RedisCluster),
		wanted == config.RedisStandalone && found == config.RedisSentinel:
		return access.NewFault("redis.mode", nil, "redis runs in mode %s, and %s is wanted", found, wanted)
	case isCluster && l.options.DB != 0:
		return errDatabase
	}
	return nil
}

// errDatabase: what is configured a cluster does not have.
var errDatabase = access.NewFault("redis.database", nil, "redis runs as a Cluster, which has no other database than 0")

// selectRefused: a cluster refuses the database before it says that it is one.
func selectRefused(err error) bool {
	return err != nil && strings.Contains(err.Error(), "SELECT is not allowed in cluster mode")
}

// checkMode says why a shard's server must not be used for what its shard is.
func (l *Link) checkMode(s *Shard, found string) error {
	if (found != config.RedisStandalone) != s.alone {
		return nil
	}
	l.mistaken.Store(true)
	if err := l.wrongMode(found); err != nil {
		return err
	}
	return errOtherMode
}

// rediscover asks again which mode Redis runs in, after a server was found to run as something
// else. While any delivers nothing changes: one of a cluster may have been started wrongly.
// What was not behind sentinels and is now wants a restart.
func (l *Link) rediscover(before *Topology) *Topology {
	if slices.ContainsFunc(before.Shards, (*Shard).Up) {
		return before
	}
	l.finding.Lock()
	defer l.finding.Unlock()
	ctx, cancel := context.WithTimeout(l.ctx, lookWait)
	defer cancel()
	for _, at := range l.addresses {
		mode, err := l.modeAt(ctx, at)
		if err != nil {
			continue // the caller logs it
		}
		if mode == config.RedisSentinel || (mode == config.RedisCluster) != before.alone() {
			return before
		}
		t, err := l.found(ctx, at, mode)
		if err != nil {
			return before
		}
		l.replace(before, t)
		l.rate.Warn("redis runs as "+mode, "redis runs in another mode than before; it is used so from now on", "key", "redis.mode", "mode", mode)
		return t
	}
	return before
}

// replace has a topology take the place of another.
func (l *Link) replace(before, t *Topology) {
	l.topology.Store(t)
	l.show()
	close(before.over)
}
