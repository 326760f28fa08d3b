package master

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// maxOthers bounds the sentinels that are learned from others.
const maxOthers = 32

// view is what one sentinel says.
type view struct {
	from    string   // the sentinel's address
	address string   // the master's; "": it knows none of that name
	epoch   int64    // of its configuration: the larger is the later
	others  []string // sentinels that it knows, but those that it holds for dead
	watches []string // the names of masters that it watches, where address is ""
}

// look asks a sentinel for the master of a name; "": of the only one that it watches.
func look(ctx context.Context, c *redis.Client, name string) (v view, err error) {
	if name == "" {
		if v.watches, err = namesAt(ctx, c); err != nil || len(v.watches) != 1 {
			return v, err
		}
		name = v.watches[0]
	}
	pipe := c.Pipeline()
	address := redis.NewStringSliceCmd(ctx, "sentinel", "get-master-addr-by-name", name)
	about := redis.NewMapStringStringCmd(ctx, "sentinel", "master", name)
	others := redis.NewMapStringStringSliceCmd(ctx, "sentinel", "sentinels", name)
	_ = pipe.BatchProcess(ctx, address, about, others)
	_, sent := pipe.Exec(ctx)
	switch err := address.Err(); {
	case errors.Is(err, redis.Nil):
		v.watches, err = namesAt(ctx, c)
		return v, err
	case err != nil:
		return v, err
	case len(address.Val()) == 0 && sent != nil: // go-redis leaves commands without an error that were not sent
		return v, sent
	}
	v.read(address.Val(), about.Val(), others.Val())
	if v.address == "" {
		return v, fmt.Errorf("it answers %.100q", address.Val())
	}
	return v, nil
}

func namesAt(ctx context.Context, c *redis.Client) ([]string, error) {
	all := redis.NewMapStringStringSliceCmd(ctx, "sentinel", "masters")
	if err := c.Process(ctx, all); err != nil {
		return nil, err
	}
	var names []string
	for _, m := range all.Val() {
		names = append(names, m["name"])
	}
	slices.Sort(names)
	return names, nil
}

// read takes the answers to get-master-addr-by-name, master and sentinels. A sentinel may
// keep the latter two from us: then nothing is known of how late it is, or of others.
func (v *view) read(address []string, about map[string]string, others []map[string]string) {
	if len(address) != 2 {
		return
	}
	v.address = join(address[0], address[1])
	v.epoch, _ = strconv.ParseInt(about["config-epoch"], 10, 64)
	for _, o := range others {
		flags := strings.Split(o["flags"], ",")
		dead := slices.Contains(flags, "s_down") || slices.Contains(flags, "disconnected")
		if at := join(o["ip"], o["port"]); at != "" && !dead && len(v.others) < maxOthers {
			v.others = append(v.others, at)
		}
	}
}

// join is host:port, or "" if that would not be an address.
func join(host, port string) string {
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" || strings.ContainsAny(host, "[]/ \r\n\x00") {
		return ""
	}
	return net.JoinHostPort(host, port)
}
