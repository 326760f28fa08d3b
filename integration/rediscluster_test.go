package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// Two nodes find a Cluster of three primaries behind the address of one of them; when a
// primary dies, its replica takes over and nothing that was kept is lost.
func TestRedisCluster_CarriesPushesAndOutlivesAPrimary(t *testing.T) {
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	cluster := redistest.NewCluster(t, 3, 1)
	yaml := withJWT + "\nredis: {addresses: ['" + cluster.Primaries[1].Addr + "']}\nusers: {history: {messages: 100, age: 1h}}" +
		"\nchannels: [{match: 'c.*', subscribe: user, presence: true, history: {messages: 100, age: 1h}}]"
	a, b := sidecartest.Start(t, yaml), sidecartest.Start(t, yaml)
	a.AwaitRedis(t, http.StatusOK)
	b.AwaitRedis(t, http.StatusOK)
	ann := talk(t, b, token("ann", "c.1", "c.2", "c.3", "c.4"), "")
	bob := talk(t, a, token("bob"), "")
	for _, ch := range []string{"c.1", "c.2", "c.3", "c.4"} { // in different partitions
		a.Pushed(t, `{"to":{"channels":["`+ch+`"]},"data":1,"id":"one"}`)
		ann.wants(`{"type":"message","channel":"` + ch + `","data":1,"offset":1}`)
	}
	a.Pushed(t, `{"to":{"users":["ann"]},"data":2}`)
	ann.wants(`{"type":"message","data":2,"offset":1}`)
	b.Pushed(t, `{"to":{"users":["bob"]},"data":3}`)
	bob.wants(`{"type":"message","data":3,"offset":1}`)
	testkit.Eventually(t, "ann is present", func() bool {
		_, body := a.API("GET", "/v1/channels/c.2/presence", "")
		return strings.Contains(body, `"user_id":"ann"`)
	})

	cluster.Primaries[0].Kill()
	redistest.WaitPrimary(t, cluster.Replicas[0][0])
	for i, ch := range []string{"c.1", "c.2", "c.3", "c.4"} {
		testkit.Eventually(t, "a push is taken again", func() bool {
			status, _ := a.API("POST", "/v1/push", `{"to":{"channels":["`+ch+`"]},"data":4,"id":"four"}`)
			return status == http.StatusOK
		})
		for { // once, perhaps behind a gap: the dead primary may have had more than its replica
			got := ann.next()
			if strings.Contains(got, `"channel":"`+ch+`","data":4`) {
				break
			}
			if !strings.Contains(got, `"type":"gap"`) {
				t.Fatalf("push %d: got %s", i, got)
			}
		}
	}
	a.AwaitRedis(t, http.StatusOK)
	b.AwaitRedis(t, http.StatusOK)
}
