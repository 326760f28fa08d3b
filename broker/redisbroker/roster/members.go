package roster

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
)

const (
	// membersWait is how long Members waits for Redis.
	membersWait = 3 * time.Second
	// maxReadings bounds those who wait for it.
	maxReadings = 4096
)

// reading is a call of Members.
type reading struct {
	channel, from string
	limit         int
	after         int         // it sees so many changes of its part
	gone          atomic.Bool // nobody waits any more
	done          chan struct{}
	cmd           *redis.Cmd // of the loop
	// Set before done is closed.
	members broker.Members
	err     error
}

// Members implements broker.Roster.
func (r *Roster) Members(ctx context.Context, channel string, q broker.MembersQuery) (broker.Members, error) {
	c := &reading{channel: channel, from: q.After, limit: q.Limit, done: make(chan struct{})}
	if c.limit <= 0 || c.limit > broker.MaxMembers {
		c.limit = broker.MaxMembers
	}
	if err := r.declared.read(c); err != nil {
		return broker.Members{}, err
	}
	defer c.gone.Store(true)
	t := time.NewTimer(membersWait)
	defer t.Stop()
	select {
	case <-c.done:
		return c.members, c.err
	case <-t.C:
		return broker.Members{}, fmt.Errorf("%w: no answer in time", broker.ErrUnavailable)
	case <-ctx.Done():
		return broker.Members{}, fmt.Errorf("%w: %w", broker.ErrUnavailable, ctx.Err())
	}
}

func (r *reading) settle(m broker.Members, err error) {
	r.members, r.err = m, err
	close(r.done)
}

// parseMembers reads what membersSource returned.
func parseMembers(reply []any) (m broker.Members, err error) {
	if len(reply) < 2 || len(reply)%2 != 0 {
		return m, fmt.Errorf("read members: %d values", len(reply))
	}
	total, _ := reply[0].(int64)
	more, _ := reply[1].(int64)
	m.Total, m.More = int(total), more == 1
	for i := 2; i < len(reply); i += 2 {
		user, _ := reply[i].(string)
		text, _ := reply[i+1].(string)
		m.Page = append(m.Page, parseMember(user, text))
	}
	return m, nil
}

// parseMember reads SINCE TOTAL INFO. Of what is not that, only the name is known.
func parseMember(user, text string) broker.Member {
	m := broker.Member{User: user}
	since, rest, _ := strings.Cut(text, " ")
	total, info, _ := strings.Cut(rest, " ")
	at, _ := strconv.ParseInt(since, 10, 64)
	n, _ := strconv.Atoi(total)
	m.Since, m.Connections = max(at, 0), max(n, 0)
	if info != "" && json.Valid([]byte(info)) {
		m.Info = []byte(info)
	}
	return m
}
