package integration

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// balancer is an address in front of nodes, as a load balancer is: each new connection
// goes to one that takes it.
type balancer struct {
	addr  string
	mu    sync.Mutex // guards nodes
	nodes []string
}

func newBalancer(t *testing.T, nodes []*sidecartest.Sidecar) *balancer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{addr: ln.Addr().String()}
	for _, n := range nodes {
		b.nodes = append(b.nodes, n.Public)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go b.carry(conn)
		}
	}()
	return b
}

func (b *balancer) set(i int, addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes[i] = addr
}

// carry tries the nodes from a random one on.
func (b *balancer) carry(conn net.Conn) {
	defer conn.Close()
	b.mu.Lock()
	nodes := append([]string(nil), b.nodes...)
	b.mu.Unlock()
	first := rand.IntN(len(nodes))
	for i := range nodes {
		to, err := net.Dial("tcp", nodes[(first+i)%len(nodes)])
		if err != nil {
			continue
		}
		go func() {
			_, _ = io.Copy(to, conn)
			_ = to.Close()
		}()
		_, _ = io.Copy(conn, to)
		return
	}
}

// jsonChaos is the truth about pushes to streams, and what the clients of client/js say
// they got.
type jsonChaos struct {
	nodes []*sidecartest.Sidecar
	yaml  string
	front *balancer
	redis *redistest.Server
	vip   *redistest.VIP

	mu    sync.Mutex // guards all below
	live  []string   // push addresses
	posts map[string][]int
	got   map[[2]string][]jsonMessage // by client and stream
	other []string                    // lines that are not messages
}

type jsonMessage struct{ offset, number int }

const (
	jsonChannels = 50
	jsonEach     = 4
)

// TestChaos_ClientsOfJSONMissNothing: clients of client/js on three nodes, of which one
// after the other is killed and started again, while Redis is cut, and paused for 3 s: each
// gets every push to its user and its channels once and in order, and no gap.
func TestChaos_ClientsOfJSONMissNothing(t *testing.T) {
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	clients := 100
	took := chaosTime(20 * time.Second)
	if took > 30*time.Second {
		clients = 500
	}
	c := newJSONChaos(t, "")
	ask := c.runClients(t, clients)
	raw := c.runRaw(t, 20)
	c.run(t, clients, took)
	testkit.Until(func() bool { return c.missing(clients) == 0 })
	_, _ = io.WriteString(ask, "connections\n")
	testkit.Eventually(t, "the clients count their connections", func() bool { return strings.Contains(c.said(), "connections ") })
	c.check(t, clients)
	c.checkRaw(t, raw)
	t.Logf("%d clients, %d pushes; %s", clients, c.pushes(), c.said())
}

// newJSONChaos starts three nodes with a Redis that can be cut.
func newJSONChaos(t *testing.T, more string) *jsonChaos {
	t.Helper()
	c := &jsonChaos{redis: redistest.Start(t), posts: map[string][]int{}, got: map[[2]string][]jsonMessage{}}
	c.vip = redistest.NewVIP(t, c.redis.Addr)
	c.yaml = more + withJWT + "\nredis: {addresses: ['" + c.vip.Addr + "']}\nusers: {history: {messages: 10000, age: 1h}}" +
		"\nchannels: [{match: 's.*', subscribe: user, history: {messages: 10000, age: 1h}}]"
	for range 3 {
		n := sidecartest.Start(t, c.yaml)
		n.AwaitRedis(t, http.StatusOK)
		c.nodes = append(c.nodes, n)
		c.live = append(c.live, n.Push)
	}
	c.front = newBalancer(t, c.nodes)
	return c
}

// run publishes, and breaks things, for as long.
func (c *jsonChaos) run(t *testing.T, clients int, took time.Duration) {
	end := time.Now().Add(took)
	var publishers sync.WaitGroup
	for range 4 {
		publishers.Go(func() { c.publish(t, clients, end) })
	}
	c.disturb(t, end)
	publishers.Wait()
}

func (c *jsonChaos) pushes() (n int) {
	for _, numbers := range c.posts {
		n += len(numbers)
	}
	return n
}

// runClients starts the clients and waits until all are subscribed.
func (c *jsonChaos) runClients(t *testing.T, clients int) (ask io.Writer) {
	cmd := nodeScript(t, "chaos.mjs", "ws://"+c.front.addr+"/_push", secret, strconv.Itoa(clients), strconv.Itoa(jsonChannels), strconv.Itoa(jsonEach))
	cmd.Args = append([]string{cmd.Args[0], "--experimental-websocket", "--no-warnings"}, cmd.Args[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopScript(cmd, in) })
	ready := make(chan struct{})
	go c.listen(out, ready)
	select {
	case <-ready:
	case <-time.After(60 * time.Second):
		t.Fatalf("the clients are not subscribed: %s", c.said())
	}
	return in
}

func stopScript(cmd *exec.Cmd, in io.Closer) {
	_ = in.Close()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func (c *jsonChaos) listen(out io.Reader, ready chan struct{}) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		c.mu.Lock()
		switch {
		case words[0] == "ready":
			close(ready)
		case words[0] == "m" && len(words) == 5:
			key := [2]string{words[1], words[2]}
			offset, _ := strconv.Atoi(words[3])
			number, _ := strconv.Atoi(words[4])
			c.got[key] = append(c.got[key], jsonMessage{offset, number})
		default:
			c.other = append(c.other, lines.Text())
		}
		c.mu.Unlock()
	}
}

func (c *jsonChaos) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.other, "; ")
}

// publish pushes 50 times a second, each push until it is confirmed.
func (c *jsonChaos) publish(t *testing.T, clients int, end time.Time) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(end) {
		<-tick.C
		number := rand.IntN(1 << 40)
		stream, to := fmt.Sprint("s.", rand.IntN(jsonChannels)), ""
		if rand.IntN(5) == 0 {
			user := fmt.Sprint("u", rand.IntN(clients))
			stream, to = "user:"+user, fmt.Sprintf(`{"users":[%q]}`, user)
		} else {
			to = fmt.Sprintf(`{"channels":[%q]}`, stream)
		}
		body := fmt.Sprintf(`{"to":%s,"data":%d,"id":"n%d"}`, to, number, number)
		testkit.Eventually(t, "a push is confirmed", func() bool { return c.push(t, body) })
		c.mu.Lock()
		c.posts[stream] = append(c.posts[stream], number)
		c.mu.Unlock()
	}
}

func (c *jsonChaos) push(t *testing.T, body string) bool {
	c.mu.Lock()
	addr := c.live[rand.IntN(len(c.live))]
	c.mu.Unlock()
	resp, err := http.Post("http://"+addr+"/v1/push", "application/json", strings.NewReader(body))
	if err != nil {
		return false // the node is just being killed
	}
	defer resp.Body.Close()
	answer := readAll(resp.Body)
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("push: %d %s", resp.StatusCode, answer)
	}
	return resp.StatusCode == http.StatusOK
}

// disturb kills a node each 5 s and starts it again, cuts Redis each 10 s, and pauses it
// once.
func (c *jsonChaos) disturb(t *testing.T, end time.Time) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for turn := 0; time.Now().Before(end); turn++ {
		<-tick.C
		c.restart(t, turn%len(c.nodes))
		switch {
		case turn == 1:
			c.redis.Pause()
			time.AfterFunc(3*time.Second, c.redis.Resume)
		case turn%2 == 0:
			c.vip.Cut()
		}
	}
}

// restart kills a node and starts another in its place.
func (c *jsonChaos) restart(t *testing.T, i int) {
	old := c.nodes[i]
	old.Kill()
	next := sidecartest.Start(t, c.yaml)
	c.nodes[i] = next
	c.front.set(i, next.Public)
	c.mu.Lock()
	c.live[i] = next.Push
	c.mu.Unlock()
}

// streamsOf are those of a client.
func streamsOf(client int) (streams []string) {
	seen := map[int]bool{}
	for k := range jsonEach {
		if n := (client*7 + k*11) % jsonChannels; !seen[n] {
			seen[n] = true
			streams = append(streams, fmt.Sprint("s.", n))
		}
	}
	return append(streams, fmt.Sprint("user:u", client))
}

func (c *jsonChaos) missing(clients int) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range clients {
		for _, stream := range streamsOf(i) {
			n += max(0, len(c.posts[stream])-len(c.got[[2]string{strconv.Itoa(i), stream}]))
		}
	}
	return n
}

func (c *jsonChaos) check(t *testing.T, clients int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, line := range c.other {
		if strings.HasPrefix(line, "g ") {
			t.Errorf("a gap where nothing was lost: %s", line)
		}
	}
	for i := range clients {
		for _, stream := range streamsOf(i) {
			want := map[int]bool{}
			for _, n := range c.posts[stream] {
				want[n] = true
			}
			last := 0
			for _, m := range c.got[[2]string{strconv.Itoa(i), stream}] {
				if !want[m.number] {
					t.Errorf("client %d, %s: %d came twice, or was never pushed", i, stream, m.number)
				}
				if m.offset <= last {
					t.Errorf("client %d, %s: offset %d after %d", i, stream, m.offset, last)
				}
				delete(want, m.number)
				last = m.offset
			}
			if len(want) > 0 {
				t.Errorf("client %d, %s: %d of %d pushes did not come", i, stream, len(want), len(c.posts[stream]))
			}
		}
	}
}
