package roster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// quick is a pace for tests. Its lease is many beats: on a slow machine nodes are late.
var quick = pace{beat: 50 * time.Millisecond, lease: time.Second, step: 600 * time.Millisecond, fence: 300 * time.Millisecond}

// testNode is one node with what it was told.
type testNode struct {
	*Roster
	t      *testing.T
	id     string
	addr   string
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	logged testkit.Log
	rate   *ratelog.Logger
	heard  map[string]func(payload string)
	begun  map[string]func()

	mu        sync.Mutex // guards all below
	stopped   chan struct{}
	remaining int // round trips until it freezes, 0: any number
	facts     []broker.Fact
	withdrawn int
	buried    int
	lostFacts int
	keep      bool // facts are not settled
}

// begin starts nodes on a server.
func begin(t *testing.T, addr string, n int, set ...func(*testNode)) []*testNode {
	t.Helper()
	var all []*testNode
	for range n {
		all = append(all, beginOne(t, addr, set...))
	}
	return all
}

var numbers struct {
	sync.Mutex
	last int
}

func beginOne(t *testing.T, addr string, set ...func(*testNode)) *testNode {
	t.Helper()
	numbers.Lock()
	numbers.last++
	id := fmt.Sprint("n", numbers.last)
	numbers.Unlock()
	n := &testNode{t: t, id: id, addr: addr, heard: map[string]func(string){}, begun: map[string]func(){}, stopped: make(chan struct{})}
	close(n.stopped)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.rate = ratelog.New(testkit.Logger(&n.logged))
	n.Roster = New(n, func(lost int) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.lostFacts += lost
	})
	n.keeper.pace = quick
	n.LimitOutbox(broker.OutboxLimits{Waiting: 1_000_000, DeadLetters: 1000, Age: time.Hour})
	n.WatchRoster(broker.RosterWatcher{Tell: n.tell, Withdraw: n.withdraw, Buried: func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.buried++
	}})
	for _, f := range set {
		f(n)
	}
	n.Start()
	n.work.Go(n.listenAll)
	t.Cleanup(n.close)
	return n
}

func (n *testNode) tell(f broker.Fact) {
	n.mu.Lock()
	n.facts = append(n.facts, f)
	keep := n.keep
	n.mu.Unlock()
	if !keep {
		n.Settle(f.Entry)
	}
}

func (n *testNode) withdraw(elsewhere func(string) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.facts {
		if elsewhere(f.Entry) {
			n.withdrawn++
		}
	}
}

// told is what the node told so far.
func (n *testNode) told() []broker.Fact {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]broker.Fact(nil), n.facts...)
}

// close ends it as a process does that is asked to; a frozen one just ends.
func (n *testNode) close() {
	n.cancel()
	n.mu.Lock()
	stopped := n.stopped
	n.mu.Unlock()
	select {
	case <-stopped:
	default:
		n.kill()
		return
	}
	n.work.Wait()
}

// freeze stops the node, as SIGSTOP does, until thaw is called. What it sent is answered,
// and not read.
func (n *testNode) freeze() (thaw func()) {
	stopped := make(chan struct{})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopped = stopped
	return sync.OnceFunc(func() { close(stopped) })
}

// freezeAfter stops it for good after so many round trips more.
func (n *testNode) freezeAfter(exchanges int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.remaining = exchanges
}

// kill ends the node without another word to Redis.
func (n *testNode) kill() {
	n.freeze()
	n.cancel()
	n.work.Wait()
}

var errKilled = errors.New("killed")

// pass waits while the node is frozen.
func (n *testNode) pass() error {
	n.mu.Lock()
	stopped := n.stopped
	n.mu.Unlock()
	select {
	case <-stopped:
		return nil
	default:
	}
	select {
	case <-stopped:
		return nil
	case <-n.ctx.Done():
		return errKilled
	}
}

func (n *testNode) Node() string                { return n.id }
func (n *testNode) Context() context.Context    { return n.ctx }
func (n *testNode) UpFor(int) bool              { return true }
func (n *testNode) Log() *ratelog.Logger        { return n.rate }
func (n *testNode) Run(_ string, loop func())   { n.work.Go(loop) }
func (n *testNode) Keys(p int) string           { return fmt.Sprintf("pc:{%d}:", p) }
func (n *testNode) Channels(p int) string       { return fmt.Sprintf("pc:0:{%d}:", p) }
func (n *testNode) Line(scripts ...string) Line { return &testLine{node: n, scripts: scripts} }

func (n *testNode) Partition(name string) int { return partitionOf(name) }

func partitionOf(name string) int {
	sum := 0
	for _, b := range []byte(name) {
		sum = sum*31 + int(b)
	}
	return sum & (Partitions - 1)
}

func (n *testNode) Listen(p int, topic string, take func(string), confirmed func()) {
	n.heard[n.Channels(p)+topic], n.begun[n.Channels(p)+topic] = take, confirmed
}

// listenAll receives what is published for the node.
func (n *testNode) listenAll() {
	for n.ctx.Err() == nil {
		n.subscription()
		select {
		case <-n.ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (n *testNode) subscription() {
	client := redis.NewClient(&redis.Options{Addr: n.addr, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	var channels []string
	for c := range n.heard {
		channels = append(channels, c)
	}
	sub := client.Subscribe(n.ctx, channels...)
	defer sub.Close()
	defer context.AfterFunc(n.ctx, func() { _ = sub.Close() })()
	for {
		m, err := sub.Receive(n.ctx)
		if err != nil || n.pass() != nil {
			return
		}
		switch m := m.(type) {
		case *redis.Message:
			n.heard[m.Channel](m.Payload)
		case *redis.Subscription:
			n.begun[m.Channel]()
		}
	}
}

// testLine is a Line to a server that stays where it is.
type testLine struct {
	node    *testNode
	scripts []string
	client  *redis.Client
}

func (l *testLine) Exchange(ctx context.Context, fill func(redis.Pipeliner)) ([]redis.Cmder, error) {
	if err := l.node.pass(); err != nil {
		return nil, err
	}
	if l.client == nil {
		l.client = redis.NewClient(&redis.Options{Addr: l.node.addr, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, PoolSize: 1})
		for _, s := range l.scripts {
			if err := l.client.ScriptLoad(ctx, s).Err(); err != nil {
				l.HangUp()
				return nil, err
			}
		}
	}
	pipe := l.client.Pipeline()
	fill(pipe)
	cmds, err := pipe.Exec(ctx)
	l.node.count()
	if gone := l.node.pass(); gone != nil {
		return nil, gone
	}
	var answer redis.Error
	if err != nil && !errors.As(err, &answer) {
		return nil, err
	}
	return cmds, nil
}

func (n *testNode) count() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.remaining > 0 {
		if n.remaining--; n.remaining == 0 {
			n.stopped = make(chan struct{})
		}
	}
}

func (l *testLine) Failed() uint64 { return 0 }

func (l *testLine) HangUp() {
	if l.client != nil {
		_ = l.client.Close()
		l.client = nil
	}
}

// bench is what a test looks into Redis with.
type probe struct {
	t *testing.T
	*redis.Client
}

func look(t *testing.T, s *redistest.Server) *probe {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr, DisableIdentity: true})
	t.Cleanup(func() { _ = c.Close() })
	return &probe{t, c}
}

// keys counts keys of a pattern.
func (p *probe) keys(pattern string) int {
	p.t.Helper()
	all, err := p.Keys(context.Background(), pattern).Result()
	if err != nil && !errors.Is(err, io.EOF) {
		p.t.Fatal(err)
	}
	return len(all)
}

// has says whether a text is among the names of nodes.
func (p *probe) hasNode(name string) bool {
	for _, n := range p.ZRange(context.Background(), "pc:{0}:nodes", 0, -1).Val() {
		if strings.HasPrefix(n, name) {
			return true
		}
	}
	return false
}
