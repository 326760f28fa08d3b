package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// Two nodes find the master behind the address of a sentinel; when it dies, they follow the
// sentinels to its replica, and nothing that was kept is lost.
func TestRedisSentinel_CarriesPushesAndOutlivesTheMaster(t *testing.T) {
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	sentinels := redistest.NewSentinels(t, 1)
	yaml := withJWT + "\nredis: {addresses: ['" + testkit.FreeAddr(t) + "', '" + sentinels.Addrs[1] + "'], master_name: " + redistest.MasterName + "}" +
		"\nchannels: [{match: 'c.*', subscribe: user, presence: true, history: {messages: 100, age: 1h}}]"
	a, b := sidecartest.Start(t, yaml), sidecartest.Start(t, yaml)
	a.AwaitRedis(t, http.StatusOK)
	b.AwaitRedis(t, http.StatusOK)
	ann := talk(t, b, token("ann", "c.1"), "")
	a.Pushed(t, `{"to":{"channels":["c.1"]},"data":1,"id":"one"}`)
	ann.wants(`{"type":"message","channel":"c.1","data":1,"offset":1}`)

	master := sentinels.Master(t)
	master.Kill()
	sentinels.WaitNewMaster(t, master)
	testkit.Eventually(t, "a push is taken again", func() bool {
		status, _ := a.API("POST", "/v1/push", `{"to":{"channels":["c.1"]},"data":2,"id":"two"}`)
		return status == http.StatusOK
	})
	for { // once, perhaps behind a gap: the dead master may have had more than its replica
		got := ann.next()
		if strings.Contains(got, `"channel":"c.1","data":2`) {
			break
		}
		if !strings.Contains(got, `"type":"gap"`) {
			t.Fatalf("got %s", got)
		}
	}
	a.AwaitRedis(t, http.StatusOK)
	b.AwaitRedis(t, http.StatusOK)
	testkit.Eventually(t, "ann is present", func() bool {
		_, body := a.API("GET", "/v1/channels/c.1/presence", "")
		return strings.Contains(body, `"user_id":"ann"`)
	})
}
