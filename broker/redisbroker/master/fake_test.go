package master_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/broker/redisbroker/master"
	"github.com/pushcart/pushcart/internal/guard"
	"github.com/pushcart/pushcart/internal/leak"
	"github.com/pushcart/pushcart/internal/testkit"
)

func TestMain(m *testing.M) { leak.Main(m) }

// fake is a sentinel that says what a test wants.
type fake struct {
	addr string
	work sync.WaitGroup

	mu         sync.Mutex // guards all below
	master     string     // of the name main; "": it watches nothing
	epoch      int
	others     []*fake
	mute       bool // it answers nothing
	deaf       bool // it answers no PING
	subscribed map[net.Conn]bool
	open       map[net.Conn]bool
}

func newFake(t *testing.T, master string, epoch int) *fake {
	ln := testkit.Listen(t)
	f := &fake{addr: ln.Addr().String(), master: master, epoch: epoch, subscribed: map[net.Conn]bool{}, open: map[net.Conn]bool{}}
	f.work.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.open[conn] = true
			f.mu.Unlock()
			f.work.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		f.mu.Lock()
		for conn := range f.open {
			_ = conn.Close()
		}
		f.mu.Unlock()
		f.work.Wait()
	})
	return f
}

func (f *fake) set(change func(*fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fake) serve(conn net.Conn) {
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.open, conn)
		delete(f.subscribed, conn)
		_ = conn.Close()
	}()
	r := bufio.NewReader(conn)
	for {
		args, err := readCommand(r)
		if err != nil {
			return
		}
		if answer := f.answer(conn, strings.ToLower(strings.Join(args, " "))); answer != "" {
			_, _ = io.WriteString(conn, answer)
		}
	}
}

func readCommand(r *bufio.Reader) (args []string, err error) {
	line := func() (string, error) {
		s, err := r.ReadString('\n')
		return strings.TrimSpace(s), err
	}
	head, err := line()
	if err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(strings.TrimPrefix(head, "*"))
	for range n {
		if _, err = line(); err != nil { // its length: there are no line breaks in arguments
			return nil, err
		}
		arg, err := line()
		if err != nil {
			return nil, err
		}
		args = append(args, arg)
	}
	return args, nil
}

func (f *fake) answer(conn net.Conn, command string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.mute || f.deaf && command == "ping":
		return ""
	case command == "ping" && f.subscribed[conn]:
		return "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
	case strings.HasPrefix(command, "subscribe"):
		f.subscribed[conn] = true
		return "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n"
	case command == "sentinel get-master-addr-by-name main" && f.master != "":
		host, port, _ := net.SplitHostPort(f.master)
		return list(text(host), text(port))
	case strings.HasPrefix(command, "sentinel get-master-addr-by-name"):
		return "*-1\r\n"
	case command == "sentinel master main" && f.master != "":
		return list(text("name"), text("main"), text("config-epoch"), text(fmt.Sprint(f.epoch)))
	case command == "sentinel masters" && f.master != "":
		return list(list(text("name"), text("main")))
	case command == "sentinel masters":
		return list()
	case strings.HasPrefix(command, "sentinel sentinels"):
		var all []string
		for _, o := range f.others {
			host, port, _ := net.SplitHostPort(o.addr)
			all = append(all, list(text("ip"), text(host), text("port"), text(port), text("flags"), text("sentinel")))
		}
		return list(all...)
	}
	return "-ERR unknown command\r\n"
}

func text(s string) string      { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }
func list(all ...string) string { return fmt.Sprintf("*%d\r\n%s", len(all), strings.Join(all, "")) }
func dial(at string) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: at, MaxRetries: -1, DialerRetries: 1, PoolSize: 1, PipelinePoolSize: -1, DisableIdentity: true,
		ContextTimeoutEnabled: true})
}

// publish tells of a switch to those that listen, and says how many they are.
func (f *fake) publish() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.subscribed {
		_, _ = io.WriteString(conn, list(text("message"), text("+switch-master"), text("main 127.0.0.1 1 127.0.0.1 2")))
	}
	return len(f.subscribed)
}

// told notes what is reported.
type told struct {
	mu     sync.Mutex // guards all below
	silent map[string]int
	alone  []string
}

func (r *told) Silent(sentinel string, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silent[sentinel]++
}

func (r *told) Alone(server string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.alone = append(r.alone, server+": "+err.Error())
}

func (r *told) times(sentinel string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.silent[sentinel]
}

func ask(t *testing.T, name string, all ...*fake) (*master.Sentinels, *told) {
	var addrs []string
	for _, f := range all {
		addrs = append(addrs, f.addr)
	}
	r := &told{silent: map[string]int{}}
	s := master.NewSentinels(addrs, name, dial, r, guard.New(testkit.Logger(io.Discard), nil))
	t.Cleanup(s.Close)
	return s, r
}
