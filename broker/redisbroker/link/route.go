package link

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// repeats is how often commands are sent again that a cluster did not execute, and
	// repeatPause how long before that where it may be able to in a moment; it doubles.
	// Others' commands wait meanwhile, so that this is not done again for a partition
	// within stuckFor after it was in vain.
	repeats     = 5
	repeatPause = 5 * time.Millisecond
	stuckFor    = time.Second
)

// exchangeRouted is Exchange where partitions have servers of their own.
func (n *Line) exchangeRouted(ctx context.Context, t *Topology, fill func(redis.Pipeliner)) []redis.Cmder {
	n.assign(t)
	pipe := n.link.blank.Pipeline()
	fill(pipe)
	cmds := pipe.Cmds()
	for _, c := range cmds {
		p := placeOf(c)
		if p < 0 {
			c.SetErr(errPlaceless)
			continue
		}
		n.words.put(c)
		n.at[p].add(c)
	}
	n.sendAll(ctx)
	n.repeat(ctx, cmds)
	return cmds
}

// adopt hangs up on servers that have nothing any more.
func (n *Line) adopt(t *Topology) {
	if n.topology == t {
		return
	}
	n.topology = t
	n.lanes = slices.DeleteFunc(n.lanes, func(a *lane) bool {
		gone := t.index(a.shard) < 0
		if gone {
			a.hangUp()
		}
		return gone
	})
	if t.alone() {
		n.at, n.words = nil, nil
	}
}

// assign gives each partition the lane of its shard.
func (n *Line) assign(t *Topology) {
	n.adopt(t)
	if n.at == nil {
		n.at, n.words = new([places]*lane), shardedWords(n.scripts)
	}
	n.asked = 0
	for p, s := range t.of {
		n.at[p] = n.lane(s)
	}
	for _, a := range n.lanes {
		a.cut, a.wrong = nil, nil
	}
}

// add has a command sent with the others of the lane.
func (a *lane) add(c redis.Cmder) {
	for i, arg := range c.Args() {
		if _, ok := arg.(*lane); ok {
			c.Args()[i] = a
		}
	}
	a.cmds = append(a.cmds, c)
}

// sendAll sends what the lanes have, all at once.
func (n *Line) sendAll(ctx context.Context) {
	var last *lane
	var others sync.WaitGroup
	for _, a := range n.lanes {
		if len(a.cmds) == 0 {
			continue
		}
		if one := last; one != nil {
			others.Go(func() {
				defer n.link.guard.Recover("commands to Redis", nil)
				one.sendOwn(ctx)
			})
		}
		last = a
	}
	if last != nil {
		last.sendOwn(ctx)
	}
	others.Wait()
}

// sendOwn sends what the lane has.
func (a *lane) sendOwn(ctx context.Context) {
	cmds, asking := a.cmds, a.asking
	a.cmds, a.asking = nil, false
	err := a.connect(ctx)
	if err == nil {
		pipe := a.conn.Pipeline()
		for _, c := range cmds {
			if asking {
				pipe.Do(ctx, "asking")
			}
			_ = pipe.Process(ctx, c)
		}
		_, err = a.send(ctx, pipe)
	}
	if err != nil {
		a.cut = err
		for _, c := range cmds {
			c.SetErr(err)
		}
	}
}

// repeat sends commands again that no server executed, as the partition moves, or the
// cluster is about to know who has it. Those of one partition stay in order: all go where
// the first of them is sent.
func (n *Line) repeat(ctx context.Context, cmds []redis.Cmder) {
	for try := range repeats {
		var redirected, left [places]bool
		again, pause := false, false
		for _, c := range cmds {
			m, ok := redirectionOf(c.Err())
			if !ok {
				continue
			}
			p := placeOf(c)
			if !redirected[p] {
				redirected[p] = true
				if left[p] = m.to == "" && time.Since(n.stuck[p]) < stuckFor; !left[p] {
					again = true
					pause = !n.redirect(ctx, p, m) || pause
				}
			}
			if !left[p] {
				n.at[p].add(c)
			}
		}
		if !again {
			return
		}
		if pause && !wait(ctx, repeatPause<<try) {
			for _, a := range n.lanes {
				a.cmds = nil // they have their errors
			}
			return
		}
		n.sendAll(ctx)
	}
	for _, c := range cmds {
		if m, ok := redirectionOf(c.Err()); ok && m.to == "" {
			n.stuck[placeOf(c)] = time.Now()
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// redirect has the commands of a partition go elsewhere; false: nothing is known but that
// they may be executed in a moment.
func (n *Line) redirect(ctx context.Context, p int, r redirection) bool {
	t := n.topology
	if r.to == "" {
		n.at[p] = n.lane(t.of[p])
		return false
	}
	to := absolute(r.to, n.at[p].shard.address)
	if !r.ask {
		t = n.link.renew(ctx, to)
	}
	n.at[p] = n.laneTo(t, to)
	if r.ask {
		n.at[p].asking = true
		n.asked |= 1 << p
	}
	return true
}

// laneTo is the lane to a server, which may have no partition yet.
func (n *Line) laneTo(t *Topology, address string) *lane {
	for _, s := range t.Shards {
		if s.address == address {
			return n.lane(s)
		}
	}
	for _, a := range n.lanes {
		if a.shard.address == address {
			return a
		}
	}
	return n.lane(n.link.newShard(address))
}

// redirection is what a server of a cluster answers instead of executing a command.
type redirection struct {
	to  string // the address of who can; "": perhaps this one, in a moment
	ask bool   // for this time only
}

func redirectionOf(err error) (r redirection, ok bool) {
	if err == nil {
		return r, false
	}
	switch words := strings.Fields(err.Error()); {
	case redis.HasErrorPrefix(err, "MOVED") || redis.HasErrorPrefix(err, "ASK"):
		if len(words) == 3 {
			r.to, r.ask = words[2], words[0] == "ASK"
		}
		return r, true
	case isHalfway(err), redis.HasErrorPrefix(err, "CLUSTERDOWN"):
		return r, true
	}
	return r, false
}

// MovesNow says whether a server refused a command as the keys of its slot are on their way
// to another one, so that it can be executed when all are there; or, with ASK, as it waits
// behind such a command.
func MovesNow(err error) bool {
	return isHalfway(err) || redis.HasErrorPrefix(err, "ASK")
}

// isHalfway: some of a command's keys are at the other server already.
func isHalfway(err error) bool {
	return redis.HasErrorPrefix(err, "TRYAGAIN") || redis.HasErrorPrefix(err, scriptAway)
}

// scriptAway begins the answer, after ERR, to a script that came upon a key that is there
// no more.
const scriptAway = "Script attempted to access a non local key"

// MovedPartition is the partition that an answer says is another server's.
func MovedPartition(err error) (partition int, ok bool) {
	r, ok := redirectionOf(err)
	if !ok || r.to == "" || r.ask {
		return 0, false
	}
	slot, err := strconv.Atoi(strings.Fields(err.Error())[1])
	return slot / slotsPerPartition, err == nil && slot < slots
}

func isRedirection(err error) bool {
	_, ok := redirectionOf(err)
	return ok
}

// absolute is the address that a server at another one means: it may leave out the host
// that it is asked at.
func absolute(address, from string) string {
	host, port, err := net.SplitHostPort(address)
	if err == nil && (host == "" || host == "?") {
		host, _, _ = net.SplitHostPort(from)
		return net.JoinHostPort(host, port)
	}
	return address
}
