package redisfailures

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testdocs"
	"github.com/pushcart/pushcart/internal/testkit"
)

// aclLine is the command of docs/redis.md that makes the user.
func aclLine(t *testing.T) (args []any) {
	t.Helper()
	for _, b := range testdocs.Read(t, "docs/redis.md").Blocks {
		if strings.HasPrefix(b.Text, "ACL SETUSER ") {
			for _, word := range strings.Fields(b.Text) {
				args = append(args, word)
			}
			return args
		}
	}
	t.Fatal("docs/redis.md has no ACL SETUSER")
	return nil
}

// TestChaos_TheUserOfTheDocsMayDoAllThatNodesDoAndTheTablesAreComplete: two nodes do all that nodes
// do as the user of docs/redis.md; Redis notes what it denied, and what is stored is in
// the tables.
func TestChaos_TheUserOfTheDocsMayDoAllThatNodesDoAndTheTablesAreComplete(t *testing.T) {
	sidecartest.OnceWithoutRace(t)
	t.Parallel()
	t.Run("standalone", func(t *testing.T) {
		t.Parallel()
		doAllAsTheUserOfTheDocs(t, []*redistest.Server{redistest.Start(t)}, func(func()) {})
	})
	t.Run("Cluster", func(t *testing.T) {
		t.Parallel()
		c := redistest.NewCluster(t, 3, 0)
		doAllAsTheUserOfTheDocs(t, c.Primaries, func(use func()) { moveBob(t, c, use) })
		asked := 0
		for _, s := range c.Primaries {
			asked += strings.Count(s.Do(t, "INFO", "commandstats"), "cmdstat_asking:")
		}
		if asked == 0 {
			t.Error("no node had to ask for what moves: the rights that needs are not tried")
		}
	})
}

// moveBob moves the slot of bob's keys to another primary: all keys first, so that who asks
// for them is sent there once, until everybody knows.
func moveBob(t *testing.T, c *redistest.Cluster, use func()) {
	t.Helper()
	for i, from := range c.Primaries {
		keys := strings.Fields(strings.Trim(from.Do(t, "KEYS", "*:stream:user:bob"), "[]"))
		if len(keys) == 0 {
			continue
		}
		to, slot := c.Primaries[(i+1)%len(c.Primaries)], from.Do(t, "CLUSTER", "KEYSLOT", keys[0])
		host, port, _ := net.SplitHostPort(to.Addr)
		source, target := from.Do(t, "CLUSTER", "MYID"), to.Do(t, "CLUSTER", "MYID")
		to.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", source)
		from.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", target)
		testkit.Eventually(t, "its keys are moved", func() bool {
			here := strings.Fields(strings.Trim(from.Do(t, "CLUSTER", "GETKEYSINSLOT", slot, 100), "[]"))
			for _, key := range here {
				from.Try("MIGRATE", host, port, key, 0, 5000, "REPLACE")
			}
			return len(here) == 0
		})
		use()
		for _, s := range []*redistest.Server{to, from, c.Primaries[(i+2)%len(c.Primaries)]} {
			s.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", target)
		}
		return
	}
	t.Error("nothing of bob's is kept")
}

// doAllAsTheUserOfTheDocs has nodes do all that they do. midway is called while they do, and
// gets what uses keys of bob.
func doAllAsTheUserOfTheDocs(t *testing.T, servers []*redistest.Server, midway func(use func())) {
	for _, s := range servers {
		s.Do(t, aclLine(t)...)
	}
	a := newApp(t)
	yaml := a.yaml() + "auth: {jwt: {secret: " + secret + "}}\nredis: {addresses: ['" + servers[0].Addr + "'], username: pushcart, password: SECRET}\n" + `
channels: [{match: "room.*", subscribe: anyone, presence: true, history: {messages: 2, age: 5m}}]
users: {offline_delay: 2s, history: {messages: 10, age: 5m}}
limits: {connections_per_user: 1, per_user_policy: replace}
`
	nodes := []*sidecartest.Sidecar{sidecartest.Start(t, yaml), sidecartest.Start(t, yaml)}
	for _, n := range nodes {
		n.AwaitRedis(t, http.StatusOK)
	}
	table := readStored(t)
	look := func() {
		for _, s := range servers {
			table.look(t, s)
		}
	}
	come := func(node int, user string) *client {
		t.Helper()
		c, err := dial(nodes[node], user, room)
		if err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, user+" is subscribed", c.ready)
		return c
	}
	api := func(want, method, path, body string) {
		t.Helper()
		var got string
		if !testkit.Until(func() bool {
			status, answer := nodes[0].API(method, path, body)
			got = fmt.Sprint(status, " ", answer)
			return strings.HasPrefix(got, want) || strings.Contains(got, want)
		}) {
			t.Errorf("%s %s: got %s, want %s", method, path, got, want)
		}
	}

	replaced := come(0, "ann")
	ann, bob := come(1, "ann"), come(1, "bob") // seats, presence
	testkit.Eventually(t, "the older connection is replaced", func() bool { _, ended := replaced.identity(); return ended })
	api(`"total":2`, "GET", "/v1/channels/"+room+"/presence", "")
	for i := range 4 { // records, ids, streams that are trimmed
		api(`"nodes":1`, "POST", "/v1/push", fmt.Sprintf(`{"to":{"channels":[%q],"users":["ann"]},"data":%d,"id":"n%d"}`, room, i, i))
		api(`"nodes":1`, "POST", "/v1/push", fmt.Sprintf(`{"to":{"users":["bob"]},"data":%d,"ttl":"1m"}`, i))
	}
	api("duplicate", "POST", "/v1/push", fmt.Sprintf(`{"to":{"channels":[%q]},"data":3,"id":"n3"}`, room))
	api(`"data":3`, "GET", "/v1/channels/"+room+"/history", "")
	api("204", "DELETE", "/v1/users/ann/history", "")
	api("204", "PUT", "/v1/users/ann/channels/news", "") // lasting subscriptions
	look()
	midway(func() { api(`"positions"`, "POST", "/v1/push", `{"to":{"users":["bob"]},"data":9,"ttl":"1m"}`) })
	again := come(0, "ann")
	testkit.Eventually(t, "it is replaced too", func() bool { _, ended := ann.identity(); return ended })
	api("204", "DELETE", "/v1/users/ann/channels/news", "")
	come(0, refused).leave() // events, dead letters
	api(`"event":"disconnected"`, "GET", "/v1/outbox?state=dead", "")
	_, letters := nodes[0].API("GET", "/v1/outbox?state=dead", "")
	_, id, _ := strings.Cut(letters, `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	api("202", "POST", "/v1/outbox/"+id+"/replay", "")
	testkit.Eventually(t, "the letter is back", func() bool { status, _ := nodes[0].API("GET", "/v1/outbox/"+id, ""); return status == http.StatusOK })
	api("204", "DELETE", "/v1/outbox/"+id, "")
	again.leave()
	look()
	nodes[1].Kill() // leases, burial
	clients := []*client{replaced, ann, again, bob}
	testkit.Eventually(t, "all events arrive, also from the survivor", func() bool {
		_, gone := bob.identity()
		missing, _ := a.wrong(clients)
		return gone && len(missing) == 0
	})
	look()
	table.complete(t)
	for _, s := range servers {
		if denied := s.Do(t, "ACL", "LOG"); denied != "[]" {
			t.Errorf("Redis denied %s", denied)
		}
	}
	for _, l := range nodes[0].Log() {
		if strings.Contains(l.Msg, "redis") && l.Level != "INFO" {
			t.Errorf("the node complained: %s %s", l.Msg, l.Err)
		}
	}
}
