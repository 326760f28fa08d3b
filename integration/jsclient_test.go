package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// eachPlace runs a test of the client in Node and in Chromium, each with a sidecar of
// its own in front of an app that answers messages with themselves.
func eachPlace(t *testing.T, yaml string, test func(t *testing.T, s *sidecartest.Sidecar, js *scripts)) {
	t.Helper()
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	for _, place := range places {
		t.Run(place, func(t *testing.T) {
			app := clientApp(t)
			s := sidecartest.Start(t, app.hooked()+withJWT+yaml)
			test(t, s, startScripts(t, place, "http://"+s.Public+"/page"))
		})
	}
}

// connect makes pc, a client of a user that keeps what it tells in told.
func (js *scripts) connect(t *testing.T, address, token, options string) {
	t.Helper()
	js.run(t, `
		const mine = globalThis.tokens = { next: () => %q }
		const own = globalThis.told = []
		pc = new Pushcart('ws://%s/_push', { token: () => mine.next(), backoff: { base: 50, cap: 1000 }, %s })
		for (const event of ['open', 'close', 'message', 'gap', 'error', 'subscribed', 'unsubscribed'])
			pc.on(event, value => { own.push([event, value]) })
		await new Promise(resolve => pc.on('open', resolve))`, token, address, options)
}

const withChannels = `
channels:
- {match: "open.**", subscribe: anyone, publish: anyone, history: {messages: 1000, age: 5m}}
- {match: "plain.**", subscribe: anyone, publish: anyone}
- {match: "**", subscribe: granted, history: {messages: 1000, age: 5m}}
users: {history: {messages: 1000, age: 5m}, publish: user}`

func TestJSClient_RequestsPushesAndChannels(t *testing.T) {
	eachPlace(t, withChannels, func(t *testing.T, s *sidecartest.Sidecar, js *scripts) {
		js.connect(t, s.Public, token("ann", "given"), "")
		f := func(want, source string, args ...any) {
			t.Helper()
			if got := js.run(t, source, args...); got != want {
				t.Errorf(source+": got %s, want %s", append(args, got, want)...)
			}
		}
		refused := func(want, source string) {
			t.Helper()
			if got := js.try(t, nil, source); got != want {
				t.Errorf("%s: got error %q, want %q", source, got, want)
			}
		}
		f(`["ann",true]`, `const { userId, connectionId } = told[0][1]; return [userId, connectionId !== '']`)

		// Requests to the app.
		f(`{"x":[1,"κόσμε"]}`, `return pc.request({ x: [1, 'κόσμε'] }, { event: 'echo' })`)
		f(`true`, `return await pc.request() === undefined`)
		f(`[0,255]`, `return [...await pc.request(Uint8Array.of(0, 255))]`)
		refused("rejected", `await pc.request(1, { event: 'rejected' })`)
		refused("invalid_argument", `await pc.request(1, { event: 'No Such Name' })`)

		// A channel: what is published comes to who is subscribed, once and in order.
		f(`0`, `open = []; sub = pc.subscribe('open.a', m => { open.push(m.data) }); return (await sub.ready).offset`)
		f(`[1,2,3]`, `const at = []; for (const n of [1, 2, 3]) at.push((await pc.publish('open.a', n)).position.offset); return at`)
		js.is(t, `[1,2,3]`, `open`)
		f(`[3,true]`, `const h = await pc.history('open.a', { limit: 3 }); return [h.messages.length, h.messages.every(m => m.from === 'ann')]`)
		f(`[[1,2],true]`, `const h = await pc.history('open.a', { limit: 2 }); return [h.messages.map(m => m.data), h.more]`)
		refused("forbidden", `await pc.subscribe('secret', () => {}).ready`)
		refused("forbidden", `await pc.publish('secret', 1)`)
		f(`[[2,3],3]`, `got = []; const old = await pc.history('open.a', { limit: 1 })
			sub.unsubscribe()
			sub = pc.subscribe('open.a', { position: { offset: 1, epoch: old.position.epoch } }, m => { got.push(m.data) })
			await sub.ready
			while (got.length < 2) await new Promise(resolve => setTimeout(resolve, 5))
			return [got, sub.position.offset]`)
		f(`[2,3]`, `sub.unsubscribe(); got = []; sub = pc.subscribe('open.a', { recent: 2 }, m => { got.push(m.data) })
			await sub.ready
			while (got.length < 2) await new Promise(resolve => setTimeout(resolve, 5))
			return got`)
		f(`null`, `return (await pc.subscribe('plain.a', () => {}).ready) ?? null`)

		// Pushes of the app, and channels that the sidecar subscribes by itself.
		js.run(t, `told.length = 0`)
		if answer := s.Pushed(t, `{"to":{"users":["ann"]},"data":{"n":1},"event":"order.paid","ack":true,"wait":"5s"}`); answer.Acked == nil || *answer.Acked != 1 {
			t.Errorf("acked: got %v, want 1", answer.Acked)
		}
		s.Pushed(t, `{"to":{"channels":["given"]},"data_base64":"AP8="}`)
		s.Pushed(t, `{"to":{"all":true},"text":"to all"}`)
		js.is(t, `[["none","0 255","given"],["none","to all","user"],["order.paid","n 1","user"]]`,
			`told.filter(([e]) => e === 'message').map(([, m]) => [m.event ?? 'none', m.data.n ? 'n ' + m.data.n : m.data.join?.(' ') ?? m.data, m.channel ?? 'user']).sort()`)
		f(`1`, `await pc.publishToUser('ann', 'me'); return pc.position.offset - 1`)
		js.is(t, `[]`, `told.filter(([e]) => ['error', 'gap', 'close'].includes(e))`)
	})
}

func TestJSClient_PresenceLoopsAndPositions(t *testing.T) {
	eachPlace(t, withPresence, func(t *testing.T, s *sidecartest.Sidecar, js *scripts) {
		js.connect(t, s.Public, token("ann"), "")
		js.run(t, `members = []; for (const type of ['join', 'leave']) pc.on(type, ({ channel, userId }) => { members.push([type, channel, userId]) })
			got = []; news = pc.subscribe('kept.1')
			loop = (async () => { for await (const m of news) if (got.push(m.data) === 2) break })()
			await news.ready`)
		other := talk(t, s, token("bob"), "")
		other.ask(`{"type":"subscribe","id":1,"channel":"kept.1"}`)
		js.is(t, `[["join","kept.1","bob"]]`, `members`)
		js.is(t, `[["ann",1],["bob",1],2]`, `news.presence().then(({ users, total }) => [...users.map(u => [u.userId, u.connections]), total])`)
		s.Pushed(t, `{"to":{"channels":["kept.1"]},"data":1}`)
		s.Pushed(t, `{"to":{"channels":["kept.1"]},"data":2}`)
		js.run(t, `await loop`)
		js.is(t, `[1,2]`, `got`)

		// A page that is loaded again goes on where it was.
		js.run(t, `store = { items: {}, getItem(key) { return this.items[key] ?? null }, setItem(key, value) { this.items[key] = value } }
			const page = () => new Promise(resolve => { const next = new Pushcart(%q, { token: () => %q, storage: store }); next.on('open', () => resolve(next)) })
			first = await page(); await Promise.all([first.subscribe('kept.1', () => {}), first.subscribe('kept.2', { recent: 1 }, () => {})].map(s => s.ready)); first.close()
			await pc.publish('kept.1', 3)
			second = await page(); after = []; second.subscribe('kept.1', m => { after.push(m.data) })`, "ws://"+s.Public+"/_push", token("ann"))
		js.is(t, `[3]`, `after`)
		js.run(t, `second.close()`)
	})
}

func TestJSClient_ChannelsThatTheAppSubscribes(t *testing.T) {
	eachPlace(t, withChannels, func(t *testing.T, s *sidecartest.Sidecar, js *scripts) {
		js.connect(t, s.Public, token("ann"), "")
		status, body := s.API("PUT", "/v1/users/ann/channels/late", "")
		if status != http.StatusNoContent {
			t.Fatalf("subscribe by the API: %d %s", status, body)
		}
		js.is(t, `["late"]`, `told.filter(([e]) => e === 'subscribed').map(([, { channel }]) => channel)`)
		s.Pushed(t, `{"to":{"channels":["late"]},"data":1}`)
		js.is(t, `[1]`, `told.filter(([e, m]) => e === 'message' && m.channel === 'late').map(([, m]) => m.data)`)
		// It lasts, and what was missed is recovered.
		if status, body := s.API("POST", "/v1/users/ann/disconnect", `{"code":3003}`); status != http.StatusOK {
			t.Fatalf("disconnect: %d %s", status, body)
		}
		js.is(t, `"closed"`, `pc.state`)
		s.Pushed(t, `{"to":{"channels":["late"]},"data":2}`)
		js.run(t, `pc.connect()`)
		js.is(t, `[1,2]`, `told.filter(([e, m]) => e === 'message' && m.channel === 'late').map(([, m]) => m.data)`)
		if status, body := s.API("DELETE", "/v1/users/ann/channels/late", ""); status != http.StatusNoContent {
			t.Fatalf("unsubscribe by the API: %d %s", status, body)
		}
		js.is(t, `["late"]`, `told.filter(([e]) => e === 'unsubscribed').map(([, { channel }]) => channel)`)
		js.is(t, `[]`, `told.filter(([e]) => ['error', 'gap'].includes(e))`)
	})
}

func TestJSClient_ObeysCloseCodesAndRecovers(t *testing.T) {
	eachPlace(t, withChannels, func(t *testing.T, s *sidecartest.Sidecar, js *scripts) {
		js.connect(t, s.Public, token("ann"), "shouldReconnect: code => code === 4200")
		js.run(t, `open = []; sub = pc.subscribe('open.a', m => { open.push(m.data) }); await sub.ready`)
		n, connections := 0, 1
		push := func() {
			t.Helper()
			n++
			s.Pushed(t, fmt.Sprintf(`{"to":{"channels":["open.a"],"users":["ann"]},"data":%d}`, n))
		}
		for _, code := range []int{1000, 3000, 3003, 4200, 4201} {
			comes := code == 3000 || code == 4200
			push()
			js.is(t, fmt.Sprint(n), `open.length`)
			if status, body := s.API("POST", "/v1/users/ann/disconnect", fmt.Sprintf(`{"code":%d,"reason":"because"}`, code)); status != http.StatusOK {
				t.Fatalf("disconnect with %d: %d %s", code, status, body)
			}
			connections++
			js.is(t, fmt.Sprintf(`[%d,"because",%v]`, code, comes), `(([, c]) => [c.code, c.reason, c.retryIn !== undefined])(told.findLast(([e]) => e === 'close') ?? ['', {}])`)
			testkit.Eventually(t, "the sidecar forgets the connection, or has another", func() bool {
				_, body := s.API("GET", "/v1/users/ann", "")
				return strings.Contains(body, `"online":false`) || comes
			})
			push() // missed, where it stays away
			if !comes {
				js.is(t, `"closed"`, `pc.state`)
				js.run(t, `pc.connect()`)
			}
			js.is(t, fmt.Sprint(connections), `told.filter(([e]) => e === 'open').length`)
			js.is(t, fmt.Sprint(n), `open.length`)
		}
		js.is(t, `[true,true]`, `[open.every((n, i) => n === i + 1), told.filter(([e]) => e === 'message').every(([, m], i) => m.data === i + 1)]`)
		js.is(t, fmt.Sprint(n), `told.filter(([e]) => e === 'message').length`)
		js.is(t, `[]`, `told.filter(([e]) => ['error', 'gap'].includes(e))`)
	})
}

func TestJSClient_RenewsItsTokenOnTheSameConnection(t *testing.T) {
	eachPlace(t, withChannels, func(t *testing.T, s *sidecartest.Sidecar, js *scripts) {
		short := func() string {
			return sign(`{"alg":"HS256"}`, fmt.Sprintf(`{"sub":"ann","aud":"app","exp":%d}`, time.Now().Add(4*time.Second).Unix()))
		}
		js.run(t, `return 1`) // the browser is there
		js.connect(t, s.Public, short(), "")
		js.run(t, `asked = 0; tokens.next = () => { asked++; return %q }`, token("ann"))
		js.is(t, `1`, `asked`)
		js.run(t, `await pc.request(1)`)
		js.is(t, `["open"]`, `told.map(([e, v]) => e === 'open' ? e : v)`)
		// One that names somebody else is refused.
		js.run(t, `pc.close(); told.length = 0`)
		js.connect(t, s.Public, short(), "")
		js.run(t, `tokens.next = () => %q`, token("bob"))
		js.is(t, `["open","error"]`, `told.map(([e]) => e)`)
	})
}

// What a token gave and the next one does not is over, without an error.
func TestJSClient_AGrantThatIsGone(t *testing.T) {
	eachPlace(t, withChannels, func(t *testing.T, s *sidecartest.Sidecar, js *scripts) {
		js.connect(t, s.Public, token("ann", "given", "other"), "")
		js.run(t, `got = []; await pc.subscribe('other', m => { got.push(m.data) }).ready`)
		s.Pushed(t, `{"to":{"channels":["given","other"]},"data":1}`)
		js.is(t, `[[1],1]`, `[got, told.filter(([e]) => e === 'message').length]`)
		js.run(t, `tokens.next = () => %q`, token("ann"))
		if status, _ := s.API("POST", "/v1/users/ann/disconnect", `{"code":3000}`); status != http.StatusOK {
			t.Fatal(status)
		}
		js.is(t, `[["unsubscribed","given"],["error","other","forbidden"]]`,
			`told.filter(([e]) => ['unsubscribed', 'error'].includes(e)).map(([e, v]) => [e, v.channel, v.code].filter(Boolean)).sort().reverse()`)
		js.is(t, `"open"`, `pc.state`)
	})
}

// A tab that was offline catches up.
func TestJSClient_OfflineAndBack(t *testing.T) {
	app := clientApp(t)
	s := sidecartest.Start(t, app.hooked()+withJWT+withChannels)
	js := startScripts(t, "chromium", "http://"+s.Public+"/page")
	js.connect(t, s.Public, token("ann"), "")
	js.run(t, `open = []; await pc.subscribe('open.a', m => { open.push(m.data) }).ready`)
	s.Pushed(t, `{"to":{"channels":["open.a"]},"data":1}`)
	js.is(t, `[1]`, `open`)
	js.run(t, `await setOffline(true)`)
	// The browser lets an open socket live, so it is ended from the other side.
	if status, _ := s.API("POST", "/v1/users/ann/disconnect", `{"code":3000}`); status != http.StatusOK {
		t.Fatal(status)
	}
	js.is(t, `true`, `told.filter(([e]) => e === 'close').length > 1`)
	for n := 2; n < 20; n++ {
		s.Pushed(t, fmt.Sprintf(`{"to":{"channels":["open.a"]},"data":%d}`, n))
	}
	js.is(t, `[1]`, `open`)
	js.run(t, `await setOffline(false)`)
	js.is(t, `[19,true]`, `[open.length, open.every((n, i) => n === i + 1)]`)
	js.is(t, `[]`, `told.filter(([e]) => ['error', 'gap'].includes(e))`)
}
