package roster_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// What a node that ends has left, others tell at once.
func TestClose_TheNodeIsForgottenAtOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := startNodes(t, server.Addr, server.Addr)
	a, b := nodes[0], nodes[1]
	a.Declare(here("ann"), occupied("chat"), member("room", "ann", 2), here("both"),
		broker.Change{Kind: broker.ConnectionEnded, Name: "c1", Record: []byte("end")})
	b.Declare(here("both"))
	a.Flush(t.Context())
	b.Flush(t.Context())
	a.await(t, map[string]string{"ann": "online", "both": "online", "chat": "occupied", "room": "joined ann"})
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b.await(t, map[string]string{
		"ann": "online, offline", "both": "online", "chat": "occupied, vacated", "room": "joined ann, left ann",
	})
	testkit.Eventually(t, "the end is told", func() bool { return b.Facts.Of("c1") != "" })
	b.members(t, "room", "")
	if keys := server.Do(t, "KEYS", "*:roster:"+a.roster.Name()); keys != "[]" || a.Buried() != 0 {
		t.Errorf("%s are left, it was buried %d times", keys, a.Buried())
	}
	if a.log.Has("declared dead") || strings.Contains(b.log.String(), "silent") {
		t.Errorf("logged:\n%s%s", &a.log, &b.log)
	}
}

// A Redis that holds another version's data, and comes when the node runs already, is left
// as it is.
func TestRoster_IsNotWrittenIntoAnotherLayout(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	vip := redistest.NewVIP(t, testkit.FreeAddr(t)) // nobody is there
	log := &testkit.Log{}
	n := newNode(t, vip.Addr, "pc", 0, log)
	n.LimitOutbox(broker.OutboxLimits{Waiting: 1000})
	if err := n.Start(func(broker.Message) {}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	n.Declare(here("ann"))
	server.Do(t, "SET", "pc:layout", "another")
	vip.Point(server.Addr)
	log.Await(t, "another layout")
	testkit.Eventually(t, "all have looked", func() bool {
		_, calls, _ := strings.Cut(server.Do(t, "INFO", "commandstats"), "cmdstat_get:calls=")
		calls, _, _ = strings.Cut(calls, ",")
		n, _ := strconv.Atoi(calls)
		return n > 20 // four times a second and loop
	})
	if keys := server.Do(t, "KEYS", "*"); keys != "[pc:layout]" {
		t.Errorf("redis has %s", keys)
	}
	server.Do(t, "SET", "pc:layout", "2")
	testkit.Eventually(t, "it is used", func() bool { return server.Do(t, "HEXISTS", n.KeyOf("user:", "ann"), ".on") == "1" })
}
