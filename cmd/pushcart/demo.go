package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	client "github.com/pushcart/pushcart/client/js"
	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/config"
)

//go:embed demo/index.html
var demoFiles embed.FS

// demoCommand is pushcart demo: the sidecar in front of a small app, in one process.
func (p *process) demoCommand() *cobra.Command {
	var cfg demoListeners
	c := &cobra.Command{
		Use: "demo", Short: "the sidecar, an example app and a page, all in one", Args: cli.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error { return p.demo(c.Context(), cfg) },
	}
	c.Flags().StringVar(&cfg.public, "listen", "", "public `ADDRESS` (default 127.0.0.1:8080, or a free port)")
	c.Flags().StringVar(&cfg.push, "push-listen", "", "`ADDRESS` of the push API (default 127.0.0.1:8081, or a free port)")
	c.Flags().StringVar(&cfg.admin, "admin-listen", "", "admin `ADDRESS` (default 127.0.0.1:8082, or a free port)")
	return c
}

// demoListeners are addresses that were asked for.
type demoListeners struct{ public, push, admin string }

func (p *process) demo(ctx context.Context, at demoListeners) error {
	app, err := newDemoApp()
	if err != nil {
		return err
	}
	defer app.close()
	cfg := config.Default()
	cfg.Listen = demoAddress(at.public, "127.0.0.1:8080")
	cfg.Push.Listen = demoAddress(at.push, "127.0.0.1:8081")
	cfg.Admin.Listen = demoAddress(at.admin, "127.0.0.1:8082")
	cfg.Backend.URL = "http://" + app.listener.Addr().String()
	cfg.Auth.Anonymous = true
	cfg.Webhook.URL = cfg.Backend.URL + "/hooks/push"
	cfg.Webhook.Events = []string{"connect", "connected", "disconnected"}
	cfg.Webhook.Unsigned = true
	cfg.Channels = []config.ChannelRule{{
		Match: "chat", Subscribe: config.AnyUser, Publish: config.AnyUser,
		History:  config.History{Messages: 100, Age: time.Hour},
		Presence: true, PresenceFrames: 100,
	}}
	cfg.Shutdown.Drain = time.Second
	cfg.Log.Level = "warn"
	if err := cfg.Validate(); err != nil {
		return err
	}
	n, err := p.newNode(ctx, cfg, config.Source{})
	if err != nil {
		return err
	}
	pushAddr := n.pushListener.Addr().String()
	app.start(pushAddr)
	fmt.Fprintf(p.stdout, demoText, n.public.Addr(), pushAddr, n.adminListener.Addr())
	return n.run(ctx, p.signals)
}

// demoAddress is what was asked for, else usual, else, where another program has
// that, a free port: a demo is not worth an argument about ports.
func demoAddress(asked, usual string) string {
	if asked != "" {
		return asked
	}
	ln, err := net.Listen("tcp", usual)
	if err != nil {
		return "127.0.0.1:0"
	}
	_ = ln.Close()
	return usual
}

const demoText = `
pushcart demo: the sidecar and a small app behind it, in one process.

  1. Open http://%[1]s/ in two tabs and chat.
  2. Let one go offline, write in the other, and come back: it catches up.
  3. Push to both from another terminal:

     curl -d 'hello from curl' http://%[2]s/v1/channels/chat/push

  Metrics: http://%[3]s/metrics    Stop: Ctrl-C

`

// demoTabs is how many tabs the app knows by name.
const demoTabs = 10_000

// demoApp is a backend as one finds it: it knows HTTP and nothing of WebSockets.
// What it was given for push is one route and one POST. The chat does without it.
type demoApp struct {
	listener net.Listener
	http     *http.Server
	done     sync.WaitGroup
	push     string
	client   http.Client

	mu     sync.Mutex // guards what follows
	guests int
	names  map[string]string // by the key that a tab made up: who comes back keeps the name
}

func newDemoApp() (*demoApp, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("demo app: %w", err)
	}
	return &demoApp{listener: ln, client: http.Client{Timeout: 5 * time.Second}, names: map[string]string{}}, nil
}

func (a *demoApp) start(push string) {
	a.push = push
	routes := http.NewServeMux()
	routes.HandleFunc("GET /{$}", a.page)
	routes.HandleFunc("GET /demo.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"push": push})
	})
	routes.HandleFunc("GET /pushcart.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		_, _ = io.WriteString(w, client.Script)
	})
	routes.HandleFunc("POST /hooks/push", a.hook)
	a.http = &http.Server{Handler: routes, ReadHeaderTimeout: 5 * time.Second}
	a.done.Go(func() { _ = a.http.Serve(a.listener) })
}

func (a *demoApp) close() {
	if a.http == nil {
		_ = a.listener.Close()
		return
	}
	_ = a.http.Close()
	a.done.Wait()
}

func (a *demoApp) page(w http.ResponseWriter, _ *http.Request) {
	page, err := demoFiles.ReadFile("demo/index.html")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page)
}

// hook takes the sidecar's events. A name is given at connect and comes back with
// every event, as the user.
func (a *demoApp) hook(w http.ResponseWriter, r *http.Request) {
	user := r.Header.Get("ce-userid")
	var err error
	switch r.Header.Get("ce-type") {
	case "pushcart.connect":
		a.letIn(w, r)
		return
	case "pushcart.connected":
		err = a.say(r.Context(), user+" joined")
	case "pushcart.disconnected":
		err = a.say(r.Context(), user+" left")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// letIn answers connect with a name.
func (a *demoApp) letIn(w http.ResponseWriter, r *http.Request) {
	var handshake struct {
		Query map[string][]string `json:"query"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&handshake); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var tab string
	if keys := handshake.Query["tab"]; len(keys) > 0 {
		tab = keys[0]
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"user_id": a.name(tab)})
}

// name is the name of a tab's guest, a new one for a key that is not known.
func (a *demoApp) name(tab string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if name := a.names[tab]; name != "" {
		return name
	}
	a.guests++
	name := "guest-" + strconv.Itoa(a.guests)
	if len(a.names) == demoTabs {
		clear(a.names)
	}
	if tab != "" {
		a.names[tab] = name
	}
	return name
}

// say pushes a note to everybody: one POST. It is of the moment, and not kept.
func (a *demoApp) say(ctx context.Context, note string) error {
	body, err := json.Marshal(map[string]any{
		"to": map[string]bool{"all": true}, "data": map[string]string{"note": note},
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+a.push+"/v1/push", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}
