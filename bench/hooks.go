package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"sync"

	"github.com/valyala/fasthttp"
)

// backend is a webhook backend in the bench's own process. It answers 204 to what
// is told and echoes messages.
type backend struct {
	url    string
	server *fasthttp.Server
	// onEvent, if set, is called for every event that was not there before.
	onEvent func(event)

	mu     sync.Mutex // guards all below
	events map[string]map[string]event
	again  int // events that came more than once
}

// event is what is kept of a webhook.
type event struct {
	kind, connection, user string
	Code                   int    `json:"code"`
	Cause                  string `json:"cause"`
}

func newBackend() (*backend, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &backend{url: "http://" + ln.Addr().String() + "/hooks", events: map[string]map[string]event{}}
	b.server = &fasthttp.Server{Handler: b.serve, NoDefaultServerHeader: true, Logger: log.New(io.Discard, "", 0)}
	go func() { _ = b.server.Serve(ln) }()
	return b, nil
}

// config is the line that sends events here.
func (b *backend) config(events string) string {
	return fmt.Sprintf("webhook: {url: '%s', unsigned: true, events: [%s]}", b.url, events)
}

func (b *backend) serve(ctx *fasthttp.RequestCtx) {
	h := &ctx.Request.Header
	e := event{
		kind:       strings.TrimPrefix(string(h.Peek("ce-type")), "pushcart."),
		connection: string(h.Peek("ce-connectionid")), user: string(h.Peek("ce-userid")),
	}
	if e.kind == "message" {
		ctx.SetContentType("text/plain")
		ctx.SetBody(ctx.Request.Body())
		return
	}
	_ = json.Unmarshal(ctx.Request.Body(), &e)
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	b.mu.Lock()
	of := b.events[e.kind]
	if of == nil {
		of = map[string]event{}
		b.events[e.kind] = of
	}
	_, known := of[e.connection]
	of[e.connection] = e
	if known {
		b.again++
	}
	b.mu.Unlock()
	if !known && b.onEvent != nil {
		b.onEvent(e)
	}
}

// count says for how many connections an event came, of a cause or "" for any.
func (b *backend) count(kind, cause string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events[kind] {
		if cause == "" || e.Cause == cause {
			n++
		}
	}
	return n
}

// causes counts the connections whose end was told, by cause.
func (b *backend) causes() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := map[string]int{}
	for _, e := range b.events["disconnected"] {
		m[fmt.Sprint(e.Cause, " ", e.Code)]++
	}
	return m
}

func (b *backend) close() { _ = b.server.Shutdown() }
