package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/testkit"
)

// fleet is nodes behind one address, as behind a load balancer that takes the next node
// where one does not answer.
type fleet struct {
	address string
	mu      sync.Mutex // guards nodes
	nodes   []*sidecar
	next    int
}

// startFleet starts nodes that share a Redis, in front of an app.
func startFleet(t *testing.T, n int, yaml string) *fleet {
	t.Helper()
	f := &fleet{}
	for range n {
		f.nodes = append(f.nodes, start(t, yaml))
	}
	f.nodes[0].speaksJSON(t)
	for _, s := range f.nodes {
		s.awaitRedis(t, http.StatusOK)
	}
	l := testkit.Listen(t)
	f.address = l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(c)
		}
	}()
	return f
}

func (f *fleet) serve(c net.Conn) {
	defer c.Close()
	up := f.dial()
	if up == nil {
		return
	}
	defer up.Close()
	go func() {
		_, _ = io.Copy(up, c)
		_ = up.Close()
	}()
	_, _ = io.Copy(c, up)
}

// node is the i-th of those that run now.
func (f *fleet) node(i int) *sidecar {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes[i%len(f.nodes)]
}

func (f *fleet) dial() net.Conn {
	f.mu.Lock()
	f.next++
	first := f.next
	f.mu.Unlock()
	for i := range len(f.nodes) {
		if up, err := net.DialTimeout("tcp", f.node(first+i).public, time.Second); err == nil {
			return up
		}
	}
	return nil
}

// replace kills a node and puts a new one in its place.
func (f *fleet) replace(t *testing.T, i int, yaml string) {
	t.Helper()
	old := f.node(i)
	_ = old.cmd.Process.Kill()
	<-old.exited
	old.code = 0 // it was meant to die
	s := start(t, yaml)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes[i] = s
}

// publisher pushes numbers to streams, each number once though nodes die.
type publisher struct {
	f    *fleet
	mu   sync.Mutex // guards sent
	sent map[string]int
	n    int
}

// push sends the next number of a stream, "u" and a user or a channel.
func (p *publisher) push(t *testing.T, stream string) {
	to := fmt.Sprintf(`"channels":[%q]`, stream)
	if user, ok := strings.CutPrefix(stream, "user:"); ok {
		to = fmt.Sprintf(`"users":[%q]`, user)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent[stream]++
	p.n++
	body := fmt.Sprintf(`{"to":{%s},"data":%d,"id":"%s-%d"}`, to, p.sent[stream], stream, p.sent[stream])
	for end := time.Now().Add(20 * time.Second); ; {
		resp, err := client.Post("http://"+p.f.node(rand.IntN(3)).push+"/v1/push", "application/json", strings.NewReader(body))
		if err == nil {
			answer := readAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
			err = fmt.Errorf("%d %s", resp.StatusCode, answer)
		}
		if time.Now().After(end) {
			t.Errorf("push %s: %v", body, err)
			return
		}
	}
}

// TestJSClient_ThroughKillsEachMessageOnceAndInOrder: nodes are killed and replaced, and
// Redis pauses; no client loses, repeats or reorders a message, and none is told a gap.
func TestJSClient_ThroughKillsEachMessageOnceAndInOrder(t *testing.T) {
	for _, place := range places {
		t.Run(place, func(t *testing.T) { killNodes(t, place) })
	}
}

func killNodes(t *testing.T, place string) {
	const clients, lasts = 12, 12 * time.Second
	redis, app := startRedis(t), clientApp(t)
	yaml := app.hooked() + withJWT + withChannels + "\nredis: {addresses: [" + redis.addr + "]}"
	f := startFleet(t, 3, yaml)
	js := startScripts(t, place, "http://"+f.address+"/page")
	streams := []string{"open.a", "open.b", "open.c", "given"}
	for i := range clients {
		user := fmt.Sprintf("u%d", i%4)
		js.connect(t, f.address, token(user, "given"), "")
		streams = append(streams, "user:"+user)
		js.run(t, `
			const keep = stream => m => { ((all[%[1]d] ??= {})[m.channel ?? stream] ??= []).push(m.data) }
			globalThis.all ??= []; globalThis.clients ??= []; globalThis.trouble ??= []; globalThis.lost ??= 0
			pc.on('message', keep('user:%[2]s'))
			pc.on('close', () => { lost++ })
			for (const event of ['gap', 'error']) pc.on(event, v => { trouble.push([%[1]d, event, v.code, v.channel, String(v)]) })
			for (const name of ['open.a', 'open.b', 'open.c']) await pc.subscribe(name, keep(name)).ready
			clients.push(pc)`, i, user)
	}
	p := &publisher{f: f, sent: map[string]int{}}
	stop := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				p.push(t, streams[rand.IntN(len(streams))])
			}
		}
	})
	pause := time.AfterFunc(lasts/2, func() {
		_ = redis.cmd.Process.Signal(signals["STOP"])
		time.AfterFunc(3*time.Second, func() { _ = redis.cmd.Process.Signal(signals["CONT"]) })
	})
	defer pause.Stop()
	kills := 0
	for end := time.Now().Add(lasts); time.Now().Before(end); kills++ {
		<-time.After(2 * time.Second)
		f.replace(t, kills%3, yaml)
	}
	close(stop)
	work.Wait()
	judgeClients(t, js, p, clients)
	t.Logf("%d pushes, %d kills, %s connections lost", p.n, kills, js.run(t, `return lost`))
}

// judgeClients compares what each client handed out with what was pushed.
func judgeClients(t *testing.T, js *scripts, p *publisher, clients int) {
	t.Helper()
	var got []map[string][]int
	whole := func() bool {
		if err := json.Unmarshal([]byte(js.run(t, `return all`)), &got); err != nil {
			t.Fatal(err)
		}
		for i := range clients {
			for stream, n := range p.sent {
				if mine := "user:" + fmt.Sprintf("u%d", i%4); strings.HasPrefix(stream, "user:") && stream != mine {
					continue
				}
				if len(got[i][stream]) < n {
					return false
				}
			}
		}
		return true
	}
	if !testkit.Until(whole) {
		t.Error("messages are missing")
	}
	for i, streams := range got {
		for stream, numbers := range streams {
			for k, n := range numbers {
				if n != k+1 {
					t.Errorf("client %d, %s: message %d is %d of %d", i, stream, k+1, n, p.sent[stream])
					break
				}
			}
			if len(numbers) != p.sent[stream] {
				t.Errorf("client %d, %s: got %d of %d messages", i, stream, len(numbers), p.sent[stream])
			}
		}
	}
	if trouble := js.run(t, `return trouble`); trouble != "[]" {
		t.Errorf("trouble: %s", trouble)
	}
}

// TestJSClient_ARedisThatLostItAllIsAGap: the client is told, on its connection or when
// it comes back, and goes on.
func TestJSClient_ARedisThatLostItAllIsAGap(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed (make test installs it)")
	}
	redis, app := startRedis(t), clientApp(t)
	f := startFleet(t, 1, app.hooked()+withJWT+withChannels+"\nredis: {addresses: ["+redis.addr+"]}")
	js := startScripts(t, "node", "")
	js.connect(t, f.address, token("ann"), "")
	js.run(t, `open = []; await pc.subscribe('open.a', m => { open.push(m.data) }).ready`)
	push := func(data string) {
		t.Helper()
		testkit.Eventually(t, "a push", func() bool {
			status, _ := f.node(0).api(t, "POST", "/v1/push", `{"to":{"channels":["open.a"],"users":["ann"]},"data":`+data+`}`)
			return status == http.StatusOK
		})
	}
	push(`1`)
	js.is(t, `[1]`, `open`)
	redis.kill()
	redis.run(t)
	push(`2`)
	js.is(t, `[1,2]`, `open`)
	js.is(t, `["open.a","user"]`, `told.filter(([e]) => e === 'gap').map(([, { channel }]) => channel ?? 'user').sort()`)
	js.is(t, `[1,2]`, `told.filter(([e]) => e === 'message').map(([, m]) => m.data)`)

	// The same while it is away.
	js.run(t, `pc.close(); told.length = 0`)
	redis.kill()
	redis.run(t)
	push(`3`)
	js.run(t, `pc.connect()`)
	js.is(t, `["open.a","user"]`, `told.filter(([e]) => e === 'gap').map(([, { channel }]) => channel ?? 'user').sort()`)
	push(`4`)
	js.is(t, `4`, `open.at(-1)`)
}

// TestJSClient_ThatComesWhileRedisHangs: it is let in, knows no position, and must learn
// one with the first message; else what it misses later would be lost untold.
func TestJSClient_ThatComesWhileRedisHangs(t *testing.T) {
	t.Run("where others are", func(t *testing.T) { comeWhileRedisHangs(t, true) })
	t.Run("alone", func(t *testing.T) { comeWhileRedisHangs(t, false) })
}

func comeWhileRedisHangs(t *testing.T, others bool) {
	redis, app := startRedis(t), clientApp(t)
	f := startFleet(t, 1, app.hooked()+withJWT+withChannels+"\nredis: {addresses: ["+redis.addr+"]}")
	js := startScripts(t, "node", "")
	s := f.node(0)
	push := func(n int) {
		t.Helper()
		testkit.Eventually(t, "a push", func() bool {
			status, _ := s.api(t, "POST", "/v1/push", fmt.Sprintf(`{"to":{"channels":["given"],"users":["ann"]},"data":%d,"id":"n%d"}`, n, n))
			return status == http.StatusOK
		})
	}
	if others { // then the node knows the streams already
		js.connect(t, f.address, token("ann", "given"), "")
	}
	push(1)
	if others {
		js.is(t, `2`, `told.filter(([e]) => e === 'message').length`)
	}
	_ = redis.cmd.Process.Signal(signals["STOP"])
	js.connect(t, f.address, token("ann", "given"), "")
	_ = redis.cmd.Process.Signal(signals["CONT"])
	push(2)
	js.is(t, `["given 2","user 2"]`, messagesOf)
	js.run(t, `pc.close()`)
	push(3)
	js.run(t, `pc.connect()`)
	js.is(t, `["given 2","given 3","user 2","user 3"]`, messagesOf)
	// One that was there before it hung, and comes back while it does.
	js.run(t, `pc.close()`)
	push(4)
	_ = redis.cmd.Process.Signal(signals["STOP"])
	js.run(t, `pc.connect()`)
	js.is(t, `"open"`, `pc.state`)
	_ = redis.cmd.Process.Signal(signals["CONT"])
	push(5)
	js.is(t, `["given 2","given 3","given 4","given 5","user 2","user 3","user 4","user 5"]`, messagesOf)
	js.is(t, `[]`, `told.filter(([e]) => ['error', 'gap'].includes(e))`)
}

const messagesOf = "told.filter(([e]) => e === 'message').map(([, m]) => `${m.channel ?? 'user'} ${m.data}`).sort()"
