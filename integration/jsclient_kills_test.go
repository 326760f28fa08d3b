package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// TestChaos_ClientsInABrowserMissNothing: as TestChaos_ClientsOfJSONMissNothing, with a few
// clients in a page.
func TestChaos_ClientsInABrowserMissNothing(t *testing.T) {
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	const clients = 8
	app := clientApp(t)
	c := newJSONChaos(t, app.hooked())
	js := startScripts(t, "chromium", "http://"+c.front.addr+"/page")
	js.run(t, `all = {}; lost = 0`)
	for i := range clients {
		js.connect(t, c.front.addr, token(fmt.Sprint("u", i)), "")
		js.run(t, `
			const keep = stream => m => { (all[%[1]d + ' ' + stream] ??= []).push([m.offset, m.data]) }
			pc.on('message', keep('user:u%[1]d'))
			pc.on('close', () => { lost++ })
			for (const event of ['gap', 'error']) pc.on(event, v => { (all['g ' + event] ??= []).push(JSON.stringify(v)) })
			for (const name of %[2]s) if (!name.startsWith('user:')) await pc.subscribe(name, keep(name)).ready`, i, quoted(streamsOf(i)))
	}
	c.run(t, clients, chaosTime(16*time.Second))
	testkit.Until(func() bool {
		c.collect(t, js)
		return c.missing(clients) == 0
	})
	c.check(t, clients)
	t.Logf("%d clients, %d pushes, %s connections lost", clients, c.pushes(), js.run(t, `return lost`))
}

func quoted(names []string) string {
	b, _ := json.Marshal(names)
	return string(b)
}

// collect takes over what the clients in a page got.
func (c *jsonChaos) collect(t *testing.T, js *scripts) {
	t.Helper()
	all := map[string]json.RawMessage{}
	js.read(t, &all, `return all`)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.other = nil
	for key, value := range all {
		client, stream, _ := strings.Cut(key, " ")
		var got [][2]int
		if client == "g" || json.Unmarshal(value, &got) != nil {
			c.other = append(c.other, key+" "+string(value))
			continue
		}
		k := [2]string{client, stream}
		c.got[k] = nil
		for _, m := range got {
			c.got[k] = append(c.got[k], jsonMessage{m[0], m[1]})
		}
	}
}

// TestJSClient_ARedisThatLostItAllIsAGap: the client is told, on its connection or when
// it comes back, and goes on.
func TestJSClient_ARedisThatLostItAllIsAGap(t *testing.T) {
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	redis, app := redistest.Start(t), clientApp(t)
	s := sidecartest.Start(t, app.hooked()+withJWT+withChannels+"\nredis: {addresses: ["+redis.Addr+"]}")
	s.AwaitRedis(t, http.StatusOK)
	js := startScripts(t, "node", "")
	js.connect(t, s.Public, token("ann"), "")
	js.run(t, `open = []; await pc.subscribe('open.a', m => { open.push(m.data) }).ready`)
	push := func(data string) {
		t.Helper()
		testkit.Eventually(t, "a push", func() bool {
			status, _ := s.API("POST", "/v1/push", `{"to":{"channels":["open.a"],"users":["ann"]},"data":`+data+`}`)
			return status == http.StatusOK
		})
	}
	push(`1`)
	js.is(t, `[1]`, `open`)
	redis.Kill()
	redis.Restart(t)
	push(`2`)
	js.is(t, `[1,2]`, `open`)
	js.is(t, `["open.a","user"]`, `told.filter(([e]) => e === 'gap').map(([, { channel }]) => channel ?? 'user').sort()`)
	js.is(t, `[1,2]`, `told.filter(([e]) => e === 'message').map(([, m]) => m.data)`)

	// The same while it is away.
	js.run(t, `pc.close(); told.length = 0`)
	redis.Kill()
	redis.Restart(t)
	push(`3`)
	js.run(t, `pc.connect()`)
	js.is(t, `["open.a","user"]`, `told.filter(([e]) => e === 'gap').map(([, { channel }]) => channel ?? 'user').sort()`)
	push(`4`)
	js.is(t, `4`, `open.at(-1)`)
}

// TestJSClient_ThatComesWhileRedisHangs: it is let in, knows no position, and must learn
// one with the first message; else what it misses later would be lost untold.
func TestJSClient_ThatComesWhileRedisHangs(t *testing.T) {
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	t.Run("where others are", func(t *testing.T) { comeWhileRedisHangs(t, true) })
	t.Run("alone", func(t *testing.T) { comeWhileRedisHangs(t, false) })
}

func comeWhileRedisHangs(t *testing.T, others bool) {
	redis, app := redistest.Start(t), clientApp(t)
	s := sidecartest.Start(t, app.hooked()+withJWT+withChannels+"\nredis: {addresses: ["+redis.Addr+"]}")
	s.AwaitRedis(t, http.StatusOK)
	js := startScripts(t, "node", "")
	push := func(n int) {
		t.Helper()
		testkit.Eventually(t, "a push", func() bool {
			status, _ := s.API("POST", "/v1/push", fmt.Sprintf(`{"to":{"channels":["given"],"users":["ann"]},"data":%d,"id":"n%d"}`, n, n))
			return status == http.StatusOK
		})
	}
	if others { // then the node knows the streams already
		js.connect(t, s.Public, token("ann", "given"), "")
	}
	push(1)
	if others {
		js.is(t, `2`, `told.filter(([e]) => e === 'message').length`)
	}
	redis.Pause()
	js.connect(t, s.Public, token("ann", "given"), "")
	redis.Resume()
	n := 1
	testkit.Eventually(t, "what is pushed arrives: it is subscribed", func() bool {
		n++
		push(n)
		return js.run(t, `await new Promise(resolve => setTimeout(resolve, 50))
			return told.filter(([e, m]) => e === 'message' && m.data === %d).length`, n) == "2"
	})
	js.run(t, `pc.close(); told.length = 0`)
	push(n + 1)
	js.run(t, `pc.connect()`)
	js.is(t, fmt.Sprintf(`["given %[1]d","user %[1]d"]`, n+1), messagesOf)
	// One that was there before it hung, and comes back while it does.
	js.run(t, `pc.close(); told.length = 0`)
	push(n + 2)
	redis.Pause()
	js.run(t, `pc.connect()`)
	js.is(t, `"open"`, `pc.state`)
	redis.Resume()
	push(n + 3)
	js.is(t, fmt.Sprintf(`["given %[1]d","given %[2]d","user %[1]d","user %[2]d"]`, n+2, n+3), messagesOf)
	js.is(t, `[]`, `told.filter(([e]) => ['error', 'gap'].includes(e))`)
}

const messagesOf = "told.filter(([e]) => e === 'message').map(([, m]) => `${m.channel ?? 'user'} ${m.data}`).sort()"
