package ws

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/accesslog"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
	"github.com/pushcart/pushcart/internal/testkit"
)

func TestAccess_OneLineForEachHandshake(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "session=secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-User-Id", "ann")
	}))
	t.Cleanup(app.Close)
	var log testkit.Log
	s, h := newServerOf(t, func(c *config.Config) {
		c.Auth.Forward.URL, c.Auth.Forward.User, c.Auth.Anonymous = app.URL, "header:X-User-Id", false
	}, goEngine(), parts{access: accesslog.New(&log, accesslog.Options{Node: "n1", JSON: true, Query: true})})
	t.Cleanup(func() { closeServer(t, s, h) })
	f := func(cookie string, status int, user string) {
		t.Helper()
		client, server := net.Pipe()
		head := "GET /_push?access_token=secret&a=1 HTTP/1.1\r\nHost: app\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: bearer.secret\r\nReferer: http://secret\r\nCookie: " + cookie + "\r\n\r\n"
		var r http1.Request
		if err := http1.ParseRequest([]byte(head), &r); err != nil {
			t.Fatal(err)
		}
		from := clientaddr.Origin{IP: netip.MustParseAddr("192.0.2.1"), ForwardedFor: "192.0.2.1", Proto: "http", Host: "app.example", RequestID: "r-1"}
		go s.Serve(context.Background(), server, &r, nil, from)
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil || resp.StatusCode != status {
			t.Fatalf("%v, %v", resp, err)
		}
		_ = client.Close()
		log.Await(t, "\n")
		line := log.Take()
		var got struct {
			Msg, IP, Method, Host, Path, Query, Conn, User, End string
			ID                                                  string `json:"request_id"`
			Status                                              int
			In                                                  int     `json:"bytes_in"`
			Out                                                 int     `json:"bytes_out"`
			Duration                                            float64 `json:"duration_ms"`
			Backend                                             float64 `json:"backend_ms"`
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if strings.Contains(line, "secret") || got.Msg != "handshake" || got.IP != "192.0.2.1" || got.Host != "app.example" || got.Path != "/_push" ||
			got.Query != "access_token=[redacted]&a=1" || got.ID != "r-1" || got.Status != status || got.User != user || (got.Conn != "") != (user != "") {
			t.Errorf("got %s", line)
		}
		if got.In != len(head) || got.Out < 50 || got.Backend <= 0 || got.Backend > got.Duration || got.End != "" {
			t.Errorf("got %s", line)
		}
	}
	f("session=secret", 101, "ann")
	f("session=none", 401, "")
}

func TestAccess_AClientThatLeavesWithinItsHandshake(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(asked); <-release }))
	t.Cleanup(app.Close)
	t.Cleanup(func() { close(release) })
	var log testkit.Log
	s, h := newServerOf(t, func(c *config.Config) {
		c.Auth.Forward.URL, c.Auth.Forward.User, c.Auth.Anonymous = app.URL, "header:X-User-Id", false
	}, goEngine(), parts{access: accesslog.New(&log, accesslog.Options{Errors: true})})
	t.Cleanup(func() { closeServer(t, s, h) })
	client, server := net.Pipe()
	defer client.Close()
	var r http1.Request
	head := "GET /_push HTTP/1.1\r\nHost: app\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if err := http1.ParseRequest([]byte(head), &r); err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(context.Background())
	go s.Serve(ctx, server, &r, nil, clientaddr.Origin{IP: netip.MustParseAddr("192.0.2.1"), ForwardedFor: "192.0.2.1", Proto: "http", Host: "app"})
	<-asked
	leave()
	log.Await(t, "msg=handshake ip=192.0.2.1 method=GET host=app path=/_push status=0 end=client_gone ")
}
