package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/leak"
	"github.com/pushcart/pushcart/internal/testkit"
)

func TestMain(m *testing.M) { leak.Main(m) }

// running is a node in this process.
type running struct {
	*node
	signals chan os.Signal
	log     *testkit.Log
	ended   chan error
}

func startNode(t *testing.T, change func(*config.Config)) *running {
	t.Helper()
	cfg := config.Default()
	cfg.Listen, cfg.Push.Listen, cfg.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Backend.URL = "http://127.0.0.1:1"
	cfg.Shutdown.Drain = time.Second
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	r := &running{signals: make(chan os.Signal, 2), log: &testkit.Log{}, ended: make(chan error, 1)}
	n, err := newNode(context.Background(), cfg, config.Source{}, newLogs(r.log, r.log, cfg.Log))
	if err != nil {
		t.Fatal(err)
	}
	r.node = n
	go func() { r.ended <- n.run(context.Background(), r.signals) }()
	r.log.Await(t, "pushcart started")
	return r
}

func (r *running) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(10 * time.Second):
		t.Fatalf("it did not end:\n%s", r.log)
		return nil
	}
}

func TestNode_SaysWhichAddressToChangeWhereOneIsTaken(t *testing.T) {
	taken := testkit.Listen(t).Addr().String()
	for key, change := range map[string]func(*config.Config){
		"listen":       func(c *config.Config) { c.Listen = taken },
		"push.listen":  func(c *config.Config) { c.Push.Listen = taken },
		"admin.listen": func(c *config.Config) { c.Admin.Listen = taken },
	} {
		cfg := config.Default()
		cfg.Listen, cfg.Push.Listen, cfg.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		cfg.Backend.URL = "http://127.0.0.1:1"
		change(&cfg)
		_, err := newNode(context.Background(), cfg, config.Source{}, newLogs(&testkit.Log{}, &testkit.Log{}, cfg.Log))
		if err == nil || !strings.HasPrefix(err.Error(), key+": ") ||
			!strings.HasSuffix(err.Error(), ": address already in use: another program has it; set "+key+" to another one") {
			t.Errorf("%s: got %v", key, err)
		}
	}
}

func TestNodes_TwoLiveInOneProcess(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }))
	defer app.Close()
	defer http.DefaultClient.CloseIdleConnections()
	a := startNode(t, func(c *config.Config) { c.Backend.URL = app.URL; c.Auth.Anonymous = true })
	b := startNode(t, func(c *config.Config) { c.Backend.URL = app.URL })
	for _, n := range []*running{a, b} {
		resp, err := http.Get("http://" + n.public.Addr().String() + "/x")
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(resp.Body); string(body) != "/x" {
			t.Errorf("got %q", body)
		}
		resp.Body.Close()
	}
	if strings.Contains(a.log.String(), "no way in") || !strings.Contains(b.log.String(), "no way in") {
		t.Errorf("the warning belongs to the second alone:\n%s%s", a.log, b.log)
	}
	for _, n := range []*running{a, b} {
		n.signals <- syscall.SIGHUP
		n.log.Await(t, "there is no configuration file to read again")
		n.signals <- syscall.SIGTERM
		if err := n.end(t); err != nil {
			t.Errorf("end: %v", err)
		}
	}
}

// TestNode_EndsWhenAListenerDies: a process that lost one of its listeners is no
// use, and its supervisor can restart it.
func TestNode_EndsWhenAListenerDies(t *testing.T) {
	for name, ln := range map[string]func(*running) net.Listener{
		"public": func(r *running) net.Listener { return r.public },
		"admin":  func(r *running) net.Listener { return r.adminListener },
	} {
		r := startNode(t, nil)
		_ = ln(r).Close()
		if err := r.end(t); err == nil || !strings.Contains(err.Error(), name+" listener") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestNode_APortThatIsTakenIsNamed(t *testing.T) {
	taken := testkit.Listen(t)
	defer taken.Close()
	for want, change := range map[string]func(*config.Config){
		"listen: ":       func(c *config.Config) { c.Listen = taken.Addr().String() },
		"push.listen: ":  func(c *config.Config) { c.Push.Listen = taken.Addr().String() },
		"admin.listen: ": func(c *config.Config) { c.Admin.Listen = taken.Addr().String() },
	} {
		cfg := config.Default()
		cfg.Listen, cfg.Push.Listen, cfg.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		cfg.Backend.URL = "http://127.0.0.1:1"
		change(&cfg)
		_, err := newNode(context.Background(), cfg, config.Source{}, newLogs(io.Discard, io.Discard, cfg.Log))
		if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "in use") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestListenPush_TakesOverASocketThatNobodyListensOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "push.sock")
	cfg := config.Default().Push
	cfg.Listen = "unix:" + path
	ln, err := listenPush(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenPush(cfg); err == nil {
		t.Error("a socket in use was taken over")
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false) // as a killed process leaves it
	_ = ln.Close()
	ln, err = listenPush(cfg)
	if err != nil {
		t.Fatalf("a dead socket: %v", err)
	}
	_ = ln.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenPush(cfg); err == nil {
		t.Error("an ordinary file was replaced")
	}
}

func TestDemoAddress_FallsBackToAFreePort(t *testing.T) {
	taken := testkit.Listen(t)
	usual := taken.Addr().String()
	if got := demoAddress("", usual); got != "127.0.0.1:0" {
		t.Errorf("taken: got %s", got)
	}
	if got := demoAddress("127.0.0.1:9", usual); got != "127.0.0.1:9" {
		t.Errorf("asked: got %s", got)
	}
	_ = taken.Close()
	if got := demoAddress("", usual); got != usual {
		t.Errorf("free: got %s", got)
	}
}
