package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/accesslog"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
	"github.com/pushcart/pushcart/internal/leak"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
	"github.com/pushcart/pushcart/proxy"
)

// patience is how long a test waits for what must happen, and quiet how long it
// looks whether something happens that must not.
const (
	patience = 20 * time.Second
	quiet    = 150 * time.Millisecond
)

func TestMain(m *testing.M) { leak.Main(m) }

// rig is a server between raw sockets: the test is the client and the backend.
type rig struct {
	t       *testing.T
	server  *proxy.Server
	address string
	metrics *metrics.Metrics
	backend net.Listener
	peers   chan *peer
	taken   chan upgraded
	log     *logBook
	access  testkit.Log
	panics  atomic.Bool // upgrade does
}

// upgraded is what Options.Upgrade was called with.
type upgraded struct {
	conn  net.Conn
	path  string
	early string
	from  clientaddr.Origin
}

// newRig starts a server whose config was changed by each of change.
func newRig(t *testing.T, change ...func(*config.Config)) *rig {
	t.Helper()
	ln := testkit.Listen(t)
	return newRigAt(t, ln, "http://"+ln.Addr().String(), change...)
}

func newRigAt(t *testing.T, backend net.Listener, url string, change ...func(*config.Config)) *rig {
	t.Helper()
	r := &rig{t: t, backend: backend, peers: make(chan *peer, 1000), taken: make(chan upgraded, 16),
		metrics: metrics.New("test", ""), log: &logBook{t: t}}
	cfg := config.Default()
	cfg.Backend.URL = url
	for _, c := range change {
		c(&cfg)
	}
	var err error
	r.server, err = proxy.New(proxy.Options{
		Settings: r.settings(cfg), Backend: cfg.Backend, Paths: cfg.WebSocket.Paths, MaxConnections: cfg.Client.MaxConnections,
		Upgraded: func() int { return 0 }, Metrics: r.metrics,
		Log: slog.New(r.log),
	})
	if err != nil {
		t.Fatal(err)
	}
	front := testkit.Listen(t)
	r.address = front.Addr().String()
	served := make(chan error, 1)
	go func() { served <- r.server.Serve(front) }()
	go r.accept()
	t.Cleanup(func() {
		_ = backend.Close() // which ends accept
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_ = r.server.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve returned %v", err)
		}
	})
	return r
}

func (r *rig) settings(cfg config.Config) *proxy.Settings {
	r.t.Helper()
	s := proxy.Sections{
		TLS: cfg.TLS, Backend: cfg.Backend, Client: cfg.Client, TrustedProxies: cfg.TrustedProxies, Webhook: cfg.Webhook,
		Upgrade: r.upgrade, Log: slog.New(r.log),
	}
	if o := (accesslog.Options{Node: "n1", Errors: cfg.Log.Access == config.AccessErrors, JSON: cfg.Log.Format == "json", Query: cfg.Log.Query}); cfg.Log.Access != config.AccessOff {
		s.Access = accesslog.New(&r.access, o)
	}
	set, err := proxy.NewSettings(s)
	if err != nil {
		r.t.Fatal(err)
	}
	return set
}

func (r *rig) upgrade(_ context.Context, conn net.Conn, head *http1.Request, early []byte, from clientaddr.Origin) {
	if r.panics.Load() {
		panic("test: upgrade")
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	r.taken <- upgraded{conn: conn, path: string(head.Path), early: string(early), from: from}
}

// accept is the only one to send to peers, so that it may close it.
func (r *rig) accept() {
	defer close(r.peers)
	for {
		conn, err := r.backend.Accept()
		if err != nil {
			return
		}
		p := newPeer(r.t, conn)
		r.t.Cleanup(func() { _ = conn.Close() })
		r.peers <- p
	}
}

// dial opens a connection of a client.
func (r *rig) dial() *peer {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return newPeer(r.t, conn)
}

// sends opens a connection and sends text.
func (r *rig) sends(text string) *peer {
	r.t.Helper()
	c := r.dial()
	c.send(text)
	return c
}

// kept leaves a connection to the backend in the pool and returns both its ends.
func (r *rig) kept() (client, backend *peer) {
	r.t.Helper()
	c := r.sends(get)
	b := r.asked()
	b.head()
	b.send(ok)
	c.wants(ok)
	return c, b
}

// asked is the next connection that reached the backend.
func (r *rig) asked() *peer {
	r.t.Helper()
	select {
	case p, open := <-r.peers:
		if !open {
			r.t.Fatal("the backend's listener is closed")
		}
		return p
	case <-time.After(patience):
		r.t.Fatal("nothing reached the backend")
		return nil
	}
}

// untouched wants that no complete request reached the backend.
func (r *rig) untouched() {
	r.t.Helper()
	select {
	case p := <-r.peers:
		if got, err := p.tryMessage(); err == nil {
			r.t.Errorf("reached the backend: %q", got)
		}
	default:
	}
}

// peer is a raw connection, a client's or the backend's.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func newPeer(t *testing.T, conn net.Conn) *peer {
	return &peer{t: t, conn: conn, in: bufio.NewReader(conn)}
}

func (p *peer) send(text string) {
	p.t.Helper()
	_ = p.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(p.conn, text); err != nil {
		p.t.Errorf("send %.60q: %v", text, err) // not Fatal: it may run beside the test
	}
}

// head reads up to the blank line.
func (p *peer) head() string {
	p.t.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	got, err := p.tryHead()
	if err != nil {
		p.t.Fatalf("head: %v after %q", err, got)
	}
	return got
}

func (p *peer) tryHead() (string, error) {
	var b strings.Builder
	for {
		line, err := p.in.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String(), err
		}
	}
}

// tryMessage reads a request with its body, as a strict backend would.
func (p *peer) tryMessage() (string, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	head, err := p.tryHead()
	if err != nil {
		return head, err
	}
	var req http1.Request
	if err := http1.ParseRequest([]byte(head), &req); err != nil {
		return head, err
	}
	if req.Chunked {
		body, err := p.tryChunks()
		return head + body, err
	}
	body := make([]byte, max(0, req.ContentLength))
	_, err = io.ReadFull(p.in, body)
	return head + string(body), err
}

func (p *peer) tryChunks() (string, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	var scan http1.Chunks
	var b strings.Builder
	for !scan.Done() {
		c, err := p.in.ReadByte()
		if err != nil {
			return b.String(), err
		}
		b.WriteByte(c)
		if _, _, err := scan.Scan([]byte{c}); err != nil {
			return b.String(), err
		}
	}
	return b.String(), nil
}

// wants reads as many bytes as text has, and they must be text.
func (p *peer) wants(text string) {
	p.t.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, len(text))
	n, err := io.ReadFull(p.in, got)
	if string(got[:n]) != text {
		p.t.Fatalf("got %q (%v), want %q", got[:n], err, text)
	}
}

// rest reads until the end.
func (p *peer) rest() (string, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(p.in)
	return string(b), err
}

// ends wants that the connection was closed, by FIN or RST, with nothing more
// before.
func (p *peer) ends() {
	p.t.Helper()
	got, err := p.rest()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatal("the connection is still open")
	}
	if got != "" {
		p.t.Fatalf("before the end came %q", got)
	}
}

// stays wants that the connection is open and silent.
func (p *peer) stays() {
	p.t.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(quiet))
	if b, err := p.in.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("got byte %q and %v, want silence", b, err)
	}
	_ = p.conn.SetReadDeadline(time.Time{})
}

const (
	get = "GET / HTTP/1.1\r\nHost: app\r\n\r\n"
	ok  = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
)
