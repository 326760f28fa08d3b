package redisfailures

import (
	"fmt"
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
	server := redistest.Start(t)
	server.Do(t, aclLine(t)...)
	a := newApp(t)
	yaml := a.yaml() + "auth: {jwt: {secret: " + secret + "}}\nredis: {addresses: ['" + server.Addr + "'], username: pushcart, password: SECRET}\n" + `
channels: [{match: "room.*", subscribe: anyone, presence: true, history: {messages: 2, age: 5m}}]
users: {offline_delay: 2s, history: {messages: 10, age: 5m}}
limits: {connections_per_user: 1, per_user_policy: replace}
`
	nodes := []*sidecartest.Sidecar{sidecartest.Start(t, yaml), sidecartest.Start(t, yaml)}
	for _, n := range nodes {
		n.AwaitRedis(t, http.StatusOK)
	}
	table := readStored(t)
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
	table.look(t, server)
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
	table.look(t, server)
	nodes[1].Kill() // leases, burial
	clients := []*client{replaced, ann, again, bob}
	testkit.Eventually(t, "everything is told, also by the survivor", func() bool {
		_, gone := bob.identity()
		missing, _ := a.wrong(clients)
		return gone && len(missing) == 0
	})
	table.look(t, server)
	table.complete(t)
	if denied := server.Do(t, "ACL", "LOG"); denied != "[]" {
		t.Errorf("Redis denied %s", denied)
	}
	for _, l := range nodes[0].Log() {
		if strings.Contains(l.Msg, "redis") && l.Level != "INFO" {
			t.Errorf("the node complained: %s %s", l.Msg, l.Err)
		}
	}
}
