package redisbroker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// Somebody's script blocks Redis: pushes fail, nothing is sent twice.
func TestRedisStreams_ABusyRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Do(t, "CONFIG", "SET", "busy-reply-threshold", "50")
	nodes := witnesses(t, server.Addr, server.Addr)
	nodes[1].listen(t, "user:a")
	first := nodes[0].keep(t, "user:a", "a")
	var blocker sync.WaitGroup
	blocker.Go(func() {
		c := redis.NewClient(&redis.Options{Addr: server.Addr, DisableIdentity: true, ReadTimeout: -1, MaxRetries: -1})
		defer c.Close()
		_ = c.Eval(context.Background(), "while true do end", nil).Err() // it is killed
	})
	defer blocker.Wait()
	p := broker.Publication{Topic: "user:a", Payload: []byte("b"), ID: "b", Digest: 1, Keep: keptLong}
	testkit.Eventually(t, "a push fails", func() bool { return nodes[0].put(p).Err != nil })
	if got := nodes[0].put(p); !errors.Is(got.Err, broker.ErrUnavailable) {
		t.Errorf("while it is busy: %v", got.Err)
	}
	server.Do(t, "SCRIPT", "KILL")
	if at := nodes[0].keepAs(t, p); at != (broker.Position{Offset: 2, Epoch: first.Epoch}) {
		t.Errorf("afterwards it is at %+v after %+v", at, first)
	}
	nodes[1].await(t, "user:a", "a b", 0)
	nodes[1].wantRead(t, "user:a", first, false, "b")
}

// A connection that is made while Redis is busy does not know its name: it must not take
// the address for it.
func TestRedisStreams_ANameIsNotGuessedWhileRedisIsBusy(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Do(t, "CONFIG", "SET", "busy-reply-threshold", "50")
	vip := redistest.NewVIP(t, server.Addr)
	node := witnesses(t, vip.Addr)[0]
	first := node.keep(t, "user:a", "a")
	var blocker sync.WaitGroup
	blocker.Go(func() {
		c := redis.NewClient(&redis.Options{Addr: server.Addr, DisableIdentity: true, ReadTimeout: -1, MaxRetries: -1})
		defer c.Close()
		_ = c.Eval(context.Background(), "while true do end", nil).Err()
	})
	defer blocker.Wait()
	p := broker.Publication{Topic: "user:b", Payload: []byte("m"), Keep: keptLong}
	testkit.Eventually(t, "a push fails", func() bool { return node.put(p).Err != nil })
	vip.Cut()
	testkit.Eventually(t, "a new connection is told that it is busy", func() bool {
		err := node.Health()
		node.put(p)
		return err != nil && strings.Contains(err.Error(), "BUSY")
	})
	server.Do(t, "SCRIPT", "KILL")
	if next := node.keep(t, "user:a", "b"); next.Epoch != first.Epoch {
		t.Errorf("a new epoch began: %+v after %+v", next, first)
	}
	if node.log.Has("replication id") {
		t.Errorf("the log has a warning:\n%s", &node.log)
	}
}

// An ACL that forbids INFO is warned of once, and streams work.
func TestRedisStreams_WithoutTheRightToAskForTheName(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Do(t, "ACL", "SETUSER", "push", "on", ">secret", "~*", "&*", "+@all", "-info")
	nodes := witnesses(t, "redis://push:secret@"+server.Addr, "redis://push:secret@"+server.Addr)
	for _, n := range nodes {
		n.listen(t, "user:a")
	}
	first := nodes[0].keep(t, "user:a", "a")
	for _, kind := range []string{"normal", "pubsub", "normal"} {
		server.Do(t, "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
		nodes[0].keep(t, "user:a", "x")
	}
	last := nodes[1].keep(t, "user:a", "b")
	if last.Epoch != first.Epoch {
		t.Errorf("from %+v to %+v", first, last)
	}
	for _, n := range nodes {
		n.await(t, "user:a", "a x b", 0)
		if got := strings.Count(n.log.String(), "replication id"); got != 1 {
			t.Errorf("warned %d times:\n%s", got, &n.log)
		}
	}
}

// Memory is full: nothing is half written, and what is there can be read, followed and
// deleted.
func TestRedisStreams_AFullRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := witnesses(t, server.Addr, server.Addr)
	first := nodes[0].keep(t, "user:a", "a")
	before := server.Do(t, "HGETALL", redisbroker.RecordKey("pc", "user:a"))
	server.Do(t, "CONFIG", "SET", "maxmemory", "1")
	for _, topic := range []string{"user:a", "user:new"} {
		got := nodes[0].put(broker.Publication{Topic: topic, Payload: []byte("b"), ID: "b", Digest: 1, Keep: keptLong})
		if !errors.Is(got.Err, broker.ErrUnavailable) || !strings.Contains(got.Err.Error(), "OOM") {
			t.Errorf("%s: %v", topic, got.Err)
		}
		if n := server.Do(t, "EXISTS", redisbroker.SeenKey("pc", topic, "b")); n != "0" {
			t.Errorf("%s: the id is recorded", topic)
		}
	}
	if after := server.Do(t, "HGETALL", redisbroker.RecordKey("pc", "user:a")); after != before {
		t.Errorf("the record is %s, was %s", after, before)
	}
	if n := server.Do(t, "EXISTS", redisbroker.RecordKey("pc", "user:new"), redisbroker.MessagesKey("pc", "user:new")); n != "0" {
		t.Errorf("%s keys of a stream that could not begin", n)
	}
	nodes[1].wantRead(t, "user:a", broker.Position{}, false, "a")
	nodes[1].listen(t, "user:a")
	if got := nodes[1].last("user:a"); got != first {
		t.Errorf("opened at %+v, want %+v", got, first)
	}
	if err := nodes[1].Forget(t.Context(), "user:a"); err != nil {
		t.Errorf("forget: %v", err)
	}
	nodes[1].wantRead(t, "user:a", broker.Position{Epoch: first.Epoch}, true, "")
	server.Do(t, "CONFIG", "SET", "maxmemory", "0")
	if next := nodes[0].keep(t, "user:a", "b"); next != (broker.Position{Offset: 2, Epoch: first.Epoch}) {
		t.Errorf("the next is at %+v after %+v", next, first)
	}
	nodes[1].await(t, "user:a", "b", 0)
}

func TestRedisStreams_WarnsOnceOfEviction(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]int{"noeviction": 0, "allkeys-lru": 1, "volatile-ttl": 1} {
		server := redistest.Start(t)
		server.Do(t, "CONFIG", "SET", "maxmemory-policy", policy)
		node := witnesses(t, server.Addr)[0]
		node.keep(t, "user:a", "a")
		server.Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		node.keep(t, "user:a", "b")
		node.wantRead(t, "user:a", broker.Position{}, false, "a b")
		if got := strings.Count(node.log.String(), "maxmemory-policy="+policy); got != want {
			t.Errorf("%s: warned %d times, want %d:\n%s", policy, got, want, &node.log)
		}
	}
}

// expiries counts the keys by how long they live.
const expiries = `
local none, short, long = {}, 0, 0
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left < 0 then none[#none + 1] = key
  elseif left <= 600000 then short = short + 1
  else long = long + 1 end
end
return {table.concat(none, ' '), short, long}`

// Streams that were touched once go away by themselves, in Redis and on the node.
func TestRedisStreams_TenThousandTouchedOnce(t *testing.T) {
	t.Parallel()
	const streams = 10_000
	server := redistest.Start(t)
	nodes := witnesses(t, server.Addr, server.Addr)
	var topics []string
	batch := make([]broker.Publication, streams)
	for i := range batch {
		batch[i] = broker.Publication{Topic: fmt.Sprint("channel:p", i), Payload: []byte("m"), Keep: keptLong}
		topics = append(topics, fmt.Sprint("channel:s", i))
	}
	nodes[0].Publish(t.Context(), batch)
	for _, p := range batch {
		if p.Err != nil {
			t.Fatal(p.Err)
		}
	}
	nodes[1].listen(t, topics...)
	nodes[1].Unsubscribe(topics...)
	for i := range 100 {
		nodes[0].wantRead(t, fmt.Sprint("channel:r", i), broker.Position{}, false, "")
	}
	got := server.Do(t, "EVAL", expiries, 0)
	probes := int64(0)
	_, _ = fmt.Sscan(server.Do(t, "EVAL", "return #redis.call('KEYS', '*probe:*')", 0), &probes)
	// A published one has a record, and messages that live an hour.
	if want := fmt.Sprintf("[pc:layout %d %d]", streams+probes, 2*streams); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if n := nodes[1].Feeds(); n != 0 {
		t.Errorf("%d feeds are left", n)
	}
	testkit.Eventually(t, "nothing waits to be compared", func() bool { return nodes[1].Waits() == 0 })
}

// Subscribing and leaving while messages come leaves nothing behind.
func TestRedisStreams_LateMessagesMakeNoFeeds(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := witnesses(t, server.Addr, server.Addr)
	const streams = 20
	stop := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			nodes[1].put(broker.Publication{Topic: loadTopic(i % streams), Payload: fmt.Append(nil, i), Keep: keptLong})
		}
	})
	for round := range 100 {
		for s := range streams {
			if (s+round)%3 == 0 {
				nodes[0].listen(t, loadTopic(s))
			} else {
				nodes[0].Unsubscribe(loadTopic(s))
			}
		}
	}
	for s := range streams {
		nodes[0].Unsubscribe(loadTopic(s))
	}
	if n := nodes[0].Feeds(); n != 0 {
		t.Errorf("%d feeds at the end", n)
	}
	close(stop)
	work.Wait()
	nodes[0].listen(t, "channel:last")
	if n := nodes[0].Feeds(); n != 1 {
		t.Errorf("%d feeds of late messages", n-1)
	}
}

// Two nodes with different rules: the record lives as long as the longer one says.
func TestRedisStreams_AShorterRuleShortensNoRecord(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := witnesses(t, server.Addr, server.Addr)
	long := broker.Retention{Messages: 10, Age: 7 * 24 * time.Hour}
	nodes[0].keepAs(t, broker.Publication{Topic: "channel:x", Payload: []byte("a"), Keep: long})
	nodes[1].listen(t, "channel:x")
	life := func(key string) time.Duration {
		d, _ := time.ParseDuration(server.Do(t, "PTTL", key) + "ms")
		return d
	}
	record, messages := life(redisbroker.RecordKey("pc", "channel:x")), life(redisbroker.MessagesKey("pc", "channel:x"))
	if record < messages+23*time.Hour {
		t.Errorf("the record lives for %v, its messages for %v", record, messages)
	}
}

// Expiry is put off, but no stream is without one, or gone before its time.
func TestRedisStreams_MessagesExpireWithTheRuleOfTheLast(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	node := witnesses(t, server.Addr)[0]
	short, long := broker.Retention{Messages: 10, Age: time.Hour}, broker.Retention{Messages: 10, Age: 7 * 24 * time.Hour}
	topic := "channel:x"
	record, messages := redisbroker.RecordKey("pc", topic), redisbroker.MessagesKey("pc", topic)
	f := func(what string, keep broker.Retention) {
		t.Helper()
		node.keepAs(t, broker.Publication{Topic: topic, Payload: []byte("m"), Keep: keep})
		for key, want := range map[string]time.Duration{messages: keep.Age, record: keep.Age + 24*time.Hour} {
			life, _ := time.ParseDuration(server.Do(t, "PTTL", key) + "ms")
			if slack := keep.Age/16 + time.Second; life < want-time.Second || life > want+slack {
				t.Errorf("%s: %s lives for %v, want %v", what, key, life, want)
			}
		}
	}
	f("the first", short)
	f("the second", short)
	if err := node.Forget(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	f("after a deletion", short)
	server.Do(t, "DEL", messages)
	f("after a deletion by hand", short)
	f("with a longer rule", long)
	f("with a shorter one", short)
	server.Do(t, "PERSIST", messages)
	server.Do(t, "HSET", record, "w", "garbage", "a", "garbage")
	f("after garbage", short)
}

// Redis' clock jumps: nobody loses anything without being told, and what is old goes later.
func TestRedisStreams_AClockThatJumps(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := witnesses(t, server.Addr, server.Addr)
	rule := broker.Retention{Messages: 6, Age: 10 * time.Minute}
	for name, jump := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		topic := "channel:" + name
		record, messages := redisbroker.RecordKey("pc", topic), redisbroker.MessagesKey("pc", topic)
		put := func(text string) broker.Position {
			return nodes[1].keepAs(t, broker.Publication{Topic: topic, Payload: []byte(text), Keep: rule})
		}
		first := put("a")
		then := time.Now().Add(jump).UnixMilli()
		for i, text := range []string{"b", "c"} { // as the scripts write them
			server.Do(t, "XADD", messages, fmt.Sprintf("%d-%d", i+2, 1<<53-then), "p", text)
		}
		server.Do(t, "HSET", record, "o", 3, "w", then+rule.Age.Milliseconds())
		nodes[0].listen(t, topic)
		put("d")
		last := put("e")
		nodes[0].await(t, topic, "d e", 0)
		gap, want := false, "b c d e"
		if jump < 0 { // they look too old
			gap, want = true, "d e"
		}
		r := nodes[1].read(t, broker.Query{Topic: topic, After: first, Keep: rule})
		var texts []string
		for _, m := range r.Messages {
			texts = append(texts, string(m.Payload))
		}
		if got := strings.Join(texts, " "); got != want || r.Gap != gap || r.Current != last {
			t.Errorf("%s: got %q, gap %v, at %+v", name, got, r.Gap, r.Current)
		}
		for i := range 10 {
			put(fmt.Sprint(i))
		}
		nodes[1].wantRead(t, topic, first, true, "4 5 6 7 8 9")
		// Those that came after the jump go at their age.
		short := broker.Retention{Messages: 100, Age: 50 * time.Millisecond}
		testkit.Eventually(t, "the old ones are gone", func() bool {
			nodes[1].keepAs(t, broker.Publication{Topic: topic, Payload: []byte("z"), Keep: short})
			first := server.Do(t, "XRANGE", messages, "-", "+", "COUNT", 1)
			return !strings.Contains(first, " 4]")
		})
	}
}
