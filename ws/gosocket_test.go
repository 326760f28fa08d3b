package ws

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/auth"
	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/accesslog"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
	"github.com/pushcart/pushcart/internal/ids"
	"github.com/pushcart/pushcart/internal/leak"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
	"github.com/pushcart/pushcart/protocol/json"
	"github.com/pushcart/pushcart/protocol/raw"
	"github.com/pushcart/pushcart/session"
	"github.com/pushcart/pushcart/webhook"
)

func TestMain(m *testing.M) { leak.Main(m) }

// newTestServer lets anybody in. The engine is the goroutine path alone where the
// test runs in a bubble, which a poller's system call would never let idle.
func newTestServer(t testing.TB, change func(*config.Config), e *engine) (*Server, *hub.Hub) {
	t.Helper()
	return newServerOf(t, change, e, parts{})
}

// newSeatedServer is the same with seats of the test's own.
func newSeatedServer(t testing.TB, change func(*config.Config), e *engine, seats broker.Seats) (*Server, *hub.Hub) {
	t.Helper()
	return newServerOf(t, change, e, parts{seats: seats})
}

// parts are what a test brings itself.
type parts struct {
	seats  broker.Seats
	log    io.Writer
	access *accesslog.Log
}

func newServerOf(t testing.TB, change func(*config.Config), e *engine, p parts) (*Server, *hub.Hub) {
	t.Helper()
	if p.log == nil {
		p.log = io.Discard
	}
	cfg := config.Default()
	cfg.Auth.Anonymous = true
	if change != nil {
		change(&cfg)
	}
	seats := p.seats
	if seats != nil {
		cfg.Limits.ConnectionsPerUser = 1
	} else {
		seats = memory.NewSeats(cfg.Limits)
	}
	log := slog.New(slog.NewJSONHandler(p.log, nil))
	m := metrics.New("test", "")
	hub := hub.NewHub(memory.New(), ids.NewNode(), m, log)
	if err := hub.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, err := auth.New(cfg.Auth, cfg.Backend, log)
	if err != nil {
		t.Fatal(err)
	}
	hooks, err := webhook.NewSettings(cfg.Webhook, cfg.Backend)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := session.NewSettings(session.Sections{
		WebSocket: cfg.WebSocket, Auth: cfg.Auth, Webhook: cfg.Webhook, Limits: cfg.Limits, Channels: cfg.Channels, Users: cfg.Users,
	}, a, hooks)
	if err != nil {
		t.Fatal(err)
	}
	o := session.Options{
		Settings: settings, RequestsInFlight: cfg.WebSocket.RequestsInFlight,
		Hub: hub, Seats: seats, Protocols: spoken, Metrics: m, Log: log,
	}
	if cfg.Webhook.URL != "" {
		o.Webhooks = webhook.New(hooks, hub.NodeID(), m, log)
	}
	if e == nil {
		if e, err = newEngine(); err != nil {
			t.Fatal(err)
		}
	}
	s := newServer(Options{
		Settings: NewSettings(cfg.WebSocket, cfg.Shutdown, nil, p.access), Config: cfg.WebSocket, Sessions: session.NewEngine(o), Metrics: m, Log: log,
	}, e)
	hooksOf.Store(s, o.Webhooks)
	t.Cleanup(func() { hooksOf.Delete(s) })
	return s, hub
}

var spoken = []session.Named{{Name: raw.Name, Protocol: raw.Protocol{}}, {Name: json.Name, Protocol: json.Protocol{}}}

// hooksOf are the dispatchers of the test servers, for tests that end them.
var hooksOf sync.Map

// hooks is the server's dispatcher, nil if it has none.
func (s *Server) hooks() *webhook.Dispatcher {
	d, _ := hooksOf.Load(s)
	return d.(*webhook.Dispatcher)
}

func goEngine() *engine {
	e := &engine{goLoop: newGoLoop()}
	e.running.Go(e.goLoop.run)
	return e
}

// open makes a connection over a pipe, the handshake done.
func openPipe(t *testing.T, s *Server) (*bufio.Reader, net.Conn) {
	t.Helper()
	client, server := net.Pipe()
	head := []byte("GET /_push HTTP/1.1\r\nHost: app\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	var r http1.Request
	if err := http1.ParseRequest(head, &r); err != nil {
		t.Fatal(err)
	}
	go s.Serve(context.Background(), server, &r, nil, clientaddr.Origin{IP: netip.MustParseAddr("192.0.2.1"), ForwardedFor: "192.0.2.1", Proto: "http", Host: "app"})
	in := bufio.NewReader(client)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("handshake: %+v %v", resp, err)
	}
	return in, client
}

// readFrame reads one short frame of the server.
func readFrame(t *testing.T, in *bufio.Reader) (op byte, payload string) {
	t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(in, head); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, head[1])
	if _, err := io.ReadFull(in, b); err != nil {
		t.Fatal(err)
	}
	return head[0] & opcodeBits, string(b)
}

func closeServer(t testing.TB, s *Server, h *hub.Hub) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	if d := s.hooks(); d != nil {
		if err := d.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// TestGoroutinePath_HeartbeatsGoOnAndSilenceEnds: 76 seconds of pings in no time.
func TestGoroutinePath_HeartbeatsGoOnAndSilenceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := newTestServer(t, nil, goEngine())
		in, client := openPipe(t, s)
		began := time.Now()
		for range 3 {
			if op, _ := readFrame(t, in); op != opPing {
				t.Fatalf("got opcode %d, want a ping", op)
			}
			if _, err := client.Write(masked(finBit|opPong, "")); err != nil {
				t.Fatal(err)
			}
		}
		if op, _ := readFrame(t, in); op != opPing {
			t.Fatalf("got opcode %d, want the ping that is not answered", op)
		}
		asked := time.Now()
		if d := asked.Sub(began); d < 75*time.Second || d > 101*time.Second {
			t.Errorf("four pings took %v, want three intervals of 25 s and the first at random", d)
		}
		op, payload := readFrame(t, in)
		if op != opClose || payload[:2] != "\x0b\xc0" {
			t.Errorf("got opcode %d %x, want a Close with 3008", op, payload)
		}
		if d := time.Since(asked); d < 10*time.Second || d > 11*time.Second {
			t.Errorf("closed after %v, want pong_timeout", d)
		}
		_ = client.Close()
		closeServer(t, s, h)
	})
}

func TestGoroutinePath_DeliversInOrderAndClosesSlowConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := newTestServer(t, func(c *config.Config) { c.WebSocket.Outbox.Messages = 4 }, goEngine())
		in, reader := openPipe(t, s)
		_, stuck := openPipe(t, s)
		var conns []*Conn
		s.engine.goLoop.each(func(c *Conn) { conns = append(conns, c) })
		for i := range 8 {
			m := &hub.Message{Kind: hub.Text, Data: []byte{byte('0' + i)}}
			for _, c := range conns {
				c.Send([]*hub.Message{m})
			}
			if op, got := readFrame(t, in); op != opText || got != string(m.Data) {
				t.Fatalf("frame %d: got opcode %d %q", i, op, got)
			}
		}
		synctest.Wait()
		if conns[1].ended != endSlow || conns[0].ended != nil {
			t.Errorf("got %+v and %+v, want the stuck one closed as slow", conns[0].ended, conns[1].ended)
		}
		_, _ = reader.Close(), stuck.Close()
		closeServer(t, s, h)
	})
}

func TestGoroutinePath_ExpiryAndDrainCloseWithTheirCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := newTestServer(t, nil, goEngine())
		in, client := openPipe(t, s)
		in2, client2 := openPipe(t, s)
		var first *Conn
		s.engine.goLoop.each(func(c *Conn) {
			if first == nil {
				first = c
			}
		})
		first.mu.Lock()
		first.session.ExpireAt(time.Now().Add(2 * time.Second))
		first.loop.schedule(first, first.loop.at(first.session.Expires()))
		first.mu.Unlock()
		if op, p := readFrame(t, in); op == opPing {
			op, p = readFrame(t, in)
			checkClose(t, op, p, CodeExpired)
		} else {
			checkClose(t, op, p, CodeExpired)
		}
		_ = client.Close()
		done := make(chan error)
		go func() { done <- s.Drain(t.Context()) }()
		for {
			op, p := readFrame(t, in2)
			if op == opPing {
				continue
			}
			checkClose(t, op, p, CodeRestart)
			break
		}
		_ = client2.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		closeServer(t, s, h)
	})
}

func checkClose(t *testing.T, op byte, payload string, code int) {
	t.Helper()
	if op != opClose || len(payload) < 2 || int(payload[0])<<8|int(payload[1]) != code {
		t.Errorf("got opcode %d %x, want a Close with %d", op, payload, code)
	}
}

// listen serves WebSockets on a real socket, the way proxy does.
func listen(t testing.TB, s *Server) (addr string) {
	t.Helper()
	ln := testkit.Listen(t)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				var b []byte
				buf := make([]byte, 4096)
				for !bytes.Contains(b, []byte("\r\n\r\n")) {
					n, err := conn.Read(buf)
					if err != nil {
						_ = conn.Close()
						return
					}
					b = append(b, buf[:n]...)
				}
				n := bytes.Index(b, []byte("\r\n\r\n")) + 4
				var r http1.Request
				if err := http1.ParseRequest(b[:n], &r); err != nil {
					_ = conn.Close()
					return
				}
				s.Serve(context.Background(), conn, &r, b[n:], clientaddr.Origin{
					IP: netip.MustParseAddr("127.0.0.1"), ForwardedFor: "127.0.0.1", Proto: "http", Host: string(r.Host),
				})
			}()
		}
	}()
	return ln.Addr().String()
}

func TestPoller_BurstsArriveWholeAndInOrder(t *testing.T) {
	s, h := newTestServer(t, func(c *config.Config) {
		c.WebSocket.Outbox.Messages, c.WebSocket.Outbox.Bytes = 10_000, 64*config.MiB
	}, nil)
	addr := listen(t, s)
	client, _, err := websocket.DefaultDialer.Dial("ws://"+addr+"/_push", nil)
	if err != nil {
		t.Fatal(err)
	}
	var c *Conn
	for _, l := range s.engine.loops() {
		l.each(func(found *Conn) { c = found })
	}
	const bursts, each = 50, 40
	go func() { // faster than the client reads, so that all ways of writing are taken
		for i := range bursts {
			var batch []*hub.Message
			for k := range each {
				size := 1 + (i*each+k)*37%5000
				data := strings.Repeat(string(rune('a'+(i*each+k)%26)), size)
				batch = append(batch, &hub.Message{Kind: hub.Text, Data: []byte(data)})
			}
			if i%3 == 0 {
				for _, m := range batch {
					c.Send([]*hub.Message{m})
				}
				continue
			}
			c.Send(batch)
		}
	}()
	_ = client.SetReadDeadline(time.Now().Add(20 * time.Second))
	for n := range bursts * each {
		_, got, err := client.ReadMessage()
		if err != nil {
			t.Fatalf("frame %d: %v", n, err)
		}
		if len(got) != 1+n*37%5000 || got[0] != byte('a'+n%26) || strings.Trim(string(got), string(got[:1])) != "" {
			t.Fatalf("frame %d: %d bytes of %q, want %d of %q", n, len(got), got[:1], 1+n*37%5000, rune('a'+n%26))
		}
	}
	_ = client.Close()
	closeServer(t, s, h)
	if n := s.outboxBytes.Load(); n != 0 {
		t.Errorf("%d bytes of outboxes are still counted", n)
	}
}

func TestServer_SheddingTakesTheLargest(t *testing.T) {
	s, h := newTestServer(t, func(c *config.Config) { c.WebSocket.InboundTotal = 100 * config.KiB }, nil)
	addr := listen(t, s)
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET /_push HTTP/1.1\r\nHost: app\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		if _, err := io.ReadFull(conn, make([]byte, len(switching([]byte("dGhlIHNhbXBsZSBub25jZQ=="), "", &session.Admission{})))); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	small, large, last := dial(), dial(), dial()
	half := func(conn net.Conn, n int) {
		frame := masked(finBinary, strings.Repeat("x", 60<<10))
		if _, err := conn.Write(frame[:n]); err != nil {
			t.Fatal(err)
		}
	}
	half(small, 10<<10)
	half(large, 55<<10)
	half(last, 50<<10)
	_ = large.SetReadDeadline(time.Now().Add(10 * time.Second))
	got, _ := io.ReadAll(large)
	if !bytes.Contains(got, []byte{CodeTooBig >> 8, CodeTooBig & 0xff}) {
		t.Errorf("the largest got % x, want a Close with 1009", got)
	}
	_, _, _ = small.Close(), large.Close(), last.Close()
	closeServer(t, s, h)
	if n := s.inboundBytes.Load(); n != 0 {
		t.Errorf("%d bytes of input are still counted", n)
	}
}
