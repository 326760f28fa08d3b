package redisbroker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// corrupted is a stream a b c d that somebody works on by hand, with a node that holds it
// and one that does not.
type corrupted struct {
	server           *redistest.Server
	nodes            []*witness
	topic            string
	record, messages string
	at               []broker.Position
}

func newCorrupted(t *testing.T, server *redistest.Server, nodes []*witness, name string) *corrupted {
	t.Helper()
	c := &corrupted{server: server, nodes: nodes, topic: "channel:" + name}
	c.record, c.messages = redisbroker.RecordKey("pc", c.topic), redisbroker.MessagesKey("pc", c.topic)
	nodes[0].listen(t, c.topic)
	for _, text := range []string{"a", "b", "c", "d"} {
		c.at = append(c.at, nodes[1].keep(t, c.topic, text))
	}
	nodes[0].await(t, c.topic, "a b c d", 0)
	return c
}

// next keeps one more, which begins a new epoch or does not, and has the node hear it, after
// so many losses.
func (c *corrupted) next(t *testing.T, offset uint64, fresh bool, want string, lost int) {
	t.Helper()
	p := c.nodes[1].keep(t, c.topic, "e")
	if p.Offset != offset || (p.Epoch != c.at[3].Epoch) != fresh {
		t.Errorf("%s: the next is at %+v, before it was %s", c.topic, p, c.at[3].Epoch)
	}
	c.nodes[0].await(t, c.topic, want, lost)
	c.nodes[1].wantRead(t, c.topic, p, false, "")
}

func TestRedisStreams_WorkedOnByHand(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := witnesses(t, server.Addr, server.Addr)
	f := func(name string, damage func(c *corrupted), check func(t *testing.T, c *corrupted)) {
		t.Run(name, func(t *testing.T) {
			c := newCorrupted(t, server, nodes, name)
			damage(c)
			check(t, c)
		})
	}
	do := func(args ...any) { server.Do(t, args...) }
	gaps := func(t *testing.T, c *corrupted, want ...string) {
		t.Helper()
		for i, w := range want {
			text, gap := strings.CutPrefix(w, "gap ")
			c.nodes[1].wantRead(t, c.topic, c.at[i], gap, text)
		}
	}
	f("no record", func(c *corrupted) { do("DEL", c.record) }, func(t *testing.T, c *corrupted) {
		gaps(t, c, "gap ", "gap ", "gap ", "gap ")
		c.next(t, 1, true, "e", 1)
		gaps(t, c, "gap e", "gap e", "gap e", "gap e")
	})
	f("no messages", func(c *corrupted) { do("DEL", c.messages) }, func(t *testing.T, c *corrupted) {
		gaps(t, c, "gap ", "gap ", "gap ", "")
		c.next(t, 5, false, "a b c d e", 0)
		gaps(t, c, "gap e", "gap e", "gap e", "e")
	})
	f("neither", func(c *corrupted) { do("DEL", c.record, c.messages) }, func(t *testing.T, c *corrupted) {
		gaps(t, c, "gap ", "gap ", "gap ", "gap ")
		c.next(t, 1, true, "e", 1)
	})
	f("one of the middle", func(c *corrupted) { do("XDEL", c.messages, entryOf(t, c, 2)) }, func(t *testing.T, c *corrupted) {
		r := c.nodes[1].read(t, broker.Query{Topic: c.topic, After: broker.Position{Epoch: c.at[0].Epoch}})
		if r.Gap || len(r.Messages) != 2 || !r.More || r.Reached != 2 {
			t.Errorf("before the hole: %+v", r)
		}
		gaps(t, c, "b", "gap d", "d", "")
		c.next(t, 5, false, "a b c d e", 0)
	})
	f("the last", func(c *corrupted) { do("XDEL", c.messages, entryOf(t, c, 3)) }, func(t *testing.T, c *corrupted) {
		r := c.nodes[1].read(t, broker.Query{Topic: c.topic, After: c.at[0]})
		if r.Gap || len(r.Messages) != 2 || !r.More {
			t.Errorf("before the hole: %+v", r)
		}
		gaps(t, c, "b c", "c", "gap ", "")
		c.next(t, 5, false, "a b c d e", 0)
	})
	f("the first two", func(c *corrupted) { do("XTRIM", c.messages, "MAXLEN", 2) }, func(t *testing.T, c *corrupted) {
		gaps(t, c, "gap c d", "c d", "d", "")
		c.next(t, 5, false, "a b c d e", 0)
	})
	for field, values := range map[string][]string{"o": {"abc", "-1", "0x10", "nan", "inf", "1e3", "1.5", "99999999999999999999", ""}} {
		for _, v := range values {
			f(field+" is "+v, func(c *corrupted) { do("HSET", c.record, field, v) }, func(t *testing.T, c *corrupted) {
				gaps(t, c, "gap ", "gap ", "gap ", "gap ")
				c.next(t, 1, true, "e", 1)
			})
		}
	}
	for _, field := range []string{"f", "w", "d"} {
		for _, v := range []string{"garbage", ",,:,!:!", "nan", "-1", ":99!,x:1!"} {
			f(field+" is "+v, func(c *corrupted) { do("HSET", c.record, field, v) }, func(t *testing.T, c *corrupted) {
				gaps(t, c, "b c d", "c d", "d", "")
				c.next(t, 5, false, "a b c d e", 0)
				do("HSET", c.record, "s", "another")
				p := c.nodes[1].keep(t, c.topic, "f")
				c.nodes[0].await(t, c.topic, "a b c d e f", 0)
				c.nodes[1].wantRead(t, c.topic, c.at[3], false, "e f")
				c.nodes[1].wantRead(t, c.topic, p, false, "")
			})
		}
	}
	f("fields of messages", func(c *corrupted) {
		do("XADD", c.messages, fmt.Sprint("5-", 1<<53-time.Now().UnixMilli()), "p", "by hand", "x", "garbage")
		do("HSET", c.record, "o", 5)
	}, func(t *testing.T, c *corrupted) {
		gaps(t, c, "b c d by hand")
		c.next(t, 6, false, "a b c d by hand e", 0)
	})
}

// entryOf is the id of a stream's entry in Redis.
func entryOf(t *testing.T, c *corrupted, i int) string {
	t.Helper()
	out := c.server.Do(t, "XRANGE", c.messages, c.at[i].Offset, c.at[i].Offset)
	id, _, _ := strings.Cut(strings.TrimLeft(out, "["), " ")
	return id
}

// Messages that are newer than their record, as after a dump of the record alone.
func TestRedisStreams_MessagesNewerThanTheirRecord(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := witnesses(t, server.Addr, server.Addr)
	topic := "channel:x"
	record, messages := redisbroker.RecordKey("pc", topic), redisbroker.MessagesKey("pc", topic)
	first := nodes[1].keep(t, topic, "a")
	server.Do(t, "COPY", record, "dump")
	nodes[1].keep(t, topic, "b")
	server.Do(t, "COPY", "dump", record, "REPLACE")
	nodes[1].wantRead(t, topic, broker.Position{}, false, "a") // what the record does not know is not there
	nodes[1].wantRead(t, topic, first, false, "")
	nodes[0].listen(t, topic)
	next := nodes[1].keep(t, topic, "c")
	if next.Epoch == first.Epoch || next.Offset != 1 {
		t.Errorf("the next is at %+v", next)
	}
	nodes[0].await(t, topic, "c", 1)
	nodes[1].wantRead(t, topic, first, true, "c")
	// Messages without a record, and a subscriber that comes first.
	nodes[0].Unsubscribe(topic)
	server.Do(t, "DEL", record)
	nodes[1].listen(t, topic)
	nodes[1].keep(t, topic, "d")
	nodes[1].await(t, topic, "d", 0)
	if n := server.Do(t, "XLEN", messages); n != "1" {
		t.Errorf("%s messages are kept", n)
	}
}

// Another program's key under one of ours: what needs it fails, with one line that names
// the keys; others do not; and it heals when the key is gone.
func TestRedisStreams_KeysOfAnotherType(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := witnesses(t, server.Addr, server.Addr)
	for i, key := range []func(topic string) string{
		func(topic string) string { return redisbroker.RecordKey("pc", topic) },
		func(topic string) string { return redisbroker.MessagesKey("pc", topic) },
		func(topic string) string { return redisbroker.SeenKey("pc", topic, "e") },
	} {
		for _, before := range []bool{false, true} {
			name := fmt.Sprint(i, before)
			topic := "channel:" + name
			foreign := key(topic)
			node := newWitness(t, server.Addr, 2)
			testkit.Eventually(t, "it is up", node.Up)
			if before {
				node.keep(t, topic, "a")
				server.Do(t, "DEL", foreign)
			}
			if kind := "list"; i < 2 || !before {
				server.Do(t, "RPUSH", foreign, kind)
			} else {
				server.Do(t, "HSET", foreign, kind, "1")
			}
			p := broker.Publication{Topic: topic, Payload: []byte("e"), ID: "e", Digest: 1, Keep: keptLong}
			for range 3 {
				if got := node.put(p); !errors.Is(got.Err, broker.ErrUnavailable) || got.Position != (broker.Position{}) {
					t.Errorf("%s: published: %+v, %v", name, got.Position, got.Err)
				}
			}
			if lines := errorLines(node); len(lines) != 1 || !strings.Contains(lines[0], foreign) {
				t.Errorf("%s: the log does not name %s once: %q", name, foreign, lines)
			}
			if server.Do(t, "EXISTS", foreign) != "1" {
				t.Errorf("%s: another program's key was removed", name)
			}
			if i == 0 {
				opened := make(chan error, 1)
				go func() {
					ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
					defer cancel()
					opened <- nodes[0].Subscribe(ctx, broker.Subscription{Topic: topic, Keep: keptLong})
				}()
				testkit.Eventually(t, "it is not opened, and the log says why", func() bool { return nodes[0].log.Has(foreign) || before })
				defer func() {
					if err := <-opened; err != nil {
						t.Errorf("%s: opened: %v", name, err)
					}
				}()
			}
			neighbour := sameTag(foreign, topic)
			node.keep(t, neighbour, "a")
			node.wantRead(t, neighbour, broker.Position{}, false, "a")
			nodes[1].listen(t, neighbour)
			server.Do(t, "DEL", foreign)
			at := node.keep(t, topic, "e")
			node.wantRead(t, topic, at, false, "")
			_ = node.Close()
		}
	}
}

func errorLines(n *witness) (lines []string) {
	for _, line := range strings.Split(n.log.String(), "\n") {
		if strings.Contains(line, "level=ERROR") {
			lines = append(lines, line)
		}
	}
	return lines
}

// sameTag is another topic of a key's partition.
func sameTag(key, topic string) string {
	tag := key[:strings.Index(key, "}")]
	for i := 0; ; i++ {
		other := fmt.Sprint("channel:n", i)
		if other != topic && strings.HasPrefix(redisbroker.RecordKey("pc", other), tag) {
			return other
		}
	}
}
