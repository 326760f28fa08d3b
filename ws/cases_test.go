package ws

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
	"github.com/pushcart/pushcart/proxy"
)

// The cases of cases_*_test.go have the numbers that the Autobahn test suite gives
// to what they check; where that suite says "non-strict" or "informational", these
// want the strict answer. Every case runs on every road that bytes can take to a
// connection, behind the real front, with raw sockets.
//
// The sidecar is no echo server: a message goes to the message webhook, whose
// answer is the echo. Three things follow. One message is answered before the next
// frame is looked at, so that whatever was sent before a bad frame or a Close is
// answered before it takes effect. And an echo is at most the 1 MiB that a webhook
// may answer; of a larger message the app says what it got, and of an
// empty one too, as an empty answer sends nothing (see echoOf).

// road is a way to a connection.
type road struct {
	name string
	tls  bool
	hide func(net.Conn) net.Conn // from the engine, so that it takes the goroutine path
}

// hiddenTCP and hiddenTLS are connections that no poller recognises.
type (
	hiddenTCP struct{ *net.TCPConn }
	hiddenTLS struct{ *tls.Conn }
)

var roads = []road{
	{name: "poller"},
	{name: "poller over TLS", tls: true},
	{name: "goroutines", hide: func(c net.Conn) net.Conn { return hiddenTCP{c.(*net.TCPConn)} }},
	{name: "goroutines over TLS", tls: true, hide: func(c net.Conn) net.Conn { return hiddenTLS{c.(*tls.Conn)} }},
}

// onEveryRoad runs test against a node of its own for each road.
func onEveryRoad(t *testing.T, change func(*config.Config), test func(*testing.T, *node)) {
	t.Helper()
	for _, r := range roads {
		t.Run(r.name, func(t *testing.T) { test(t, newNode(t, r, change)) })
	}
}

// node is a front and a server, with an app that echoes messages.
type node struct {
	*Server
	addr string
	tls  *tls.Config // of clients; nil: plain

	receive int // SO_RCVBUF of clients; 0: the kernel's

	release func()        // lets the app answer what it holds
	letGo   chan struct{} // closed by release
	asked   atomic.Int64  // messages that reached the app
	ended   chan string   // bodies of disconnected events
}

func newNode(t *testing.T, r road, change func(*config.Config)) *node {
	t.Helper()
	return newNodeOf(t, r, change, parts{})
}

func newNodeOf(t *testing.T, r road, change func(*config.Config), p parts) *node {
	t.Helper()
	n := &node{letGo: make(chan struct{}), ended: make(chan string, 64)}
	n.release = sync.OnceFunc(func() { close(n.letGo) })
	var cfg config.Config
	app := httptest.NewServer(http.HandlerFunc(n.echo))
	s, h := newServerOf(t, func(c *config.Config) {
		c.Backend.URL = app.URL
		c.WebSocket.PingInterval = 24 * time.Hour // a ping of ours is in no case
		c.Webhook.URL, c.Webhook.Events, c.Webhook.Unsigned = app.URL+"/hook", []string{"message"}, true
		if r.tls {
			n.tls = &tls.Config{ServerName: "localhost"}
			cert := testkit.NewCertificate(t, t.TempDir(), "localhost")
			c.TLS.CertFile, c.TLS.KeyFile, n.tls.RootCAs = cert.CertFile, cert.KeyFile, cert.Pool
		}
		if change != nil {
			change(c)
		}
		cfg = *c
	}, nil, p)
	n.Server = s
	quiet := slog.New(slog.DiscardHandler)
	set, err := proxy.NewSettings(proxy.Sections{
		TLS: cfg.TLS, Backend: cfg.Backend, Client: cfg.Client, TrustedProxies: cfg.TrustedProxies, Webhook: cfg.Webhook, Log: quiet,
		Upgrade: func(ctx context.Context, conn net.Conn, head *http1.Request, early []byte, from clientaddr.Origin) {
			if r.hide != nil {
				conn = r.hide(conn)
			}
			s.Serve(ctx, conn, head, early, from)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	front, err := proxy.New(proxy.Options{
		Settings: set, Backend: cfg.Backend, Paths: cfg.WebSocket.Paths, Upgraded: s.Connections, Metrics: metrics.New("test", ""), Log: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	ln := testkit.Listen(t)
	n.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- front.Serve(ln) }()
	t.Cleanup(func() {
		n.release()
		closeServer(t, s, h)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = front.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
		app.Close()
		if in, out := s.inboundBytes.Load(), s.outboxBytes.Load(); in != 0 || out != 0 {
			t.Errorf("%d bytes of input and %d of output are still counted", in, out)
		}
	})
	return n
}

// echo is an app that sends every message back; those that begin with "hold", and connect, only
// after release, and "silence" with an empty 200.
func (n *node) echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if r.Header.Get("ce-type") == "pushcart.disconnected" {
		n.ended <- string(body)
		return
	}
	n.asked.Add(1)
	if strings.HasPrefix(string(body), "hold") || r.Header.Get("ce-type") == "pushcart.connect" {
		<-n.letGo
	}
	if string(body) == "silence" {
		return
	}
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	_, _ = io.WriteString(w, echoOf(string(body)))
}

// echoOf is what echo answers. An empty answer would be no frame.
func echoOf(message string) string {
	if message == "" {
		return "(empty)"
	}
	if len(message) <= 1<<20 {
		return message
	}
	return fmt.Sprintf("%d bytes %x", len(message), sha256.Sum256([]byte(message)))
}

// patience is how long a case waits for what must happen.
const patience = 30 * time.Second

const (
	sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="
	handshook = "GET /_push HTTP/1.1\r\nHost: app\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + sampleKey + "\r\n"
)

// client is the other end: a raw socket that checks what the server says.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// tcp is the connection below TLS, if there is that.
func (c *client) tcp() *net.TCPConn {
	if t, ok := c.conn.(*tls.Conn); ok {
		return t.NetConn().(*net.TCPConn)
	}
	return c.conn.(*net.TCPConn)
}

// fin ends what the client says, in TLS and TCP.
func (c *client) fin() {
	if t, ok := c.conn.(*tls.Conn); ok {
		_ = t.CloseWrite()
	}
	_ = c.tcp().CloseWrite()
}

// reset ends the connection with a RST.
func (c *client) reset() {
	_ = c.tcp().SetLinger(0)
	_ = c.tcp().Close()
}

// dial opens a connection and sends nothing.
func (n *node) dial(t *testing.T) *client {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		if n.receive == 0 {
			return nil
		}
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, n.receive) })
	}}
	conn, err := d.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	if n.tls != nil {
		conn = tls.Client(conn, n.tls)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &client{t: t, conn: conn, in: bufio.NewReader(conn)}
}

// connect opens a WebSocket; header are further lines of the handshake, and early
// is sent in one write with it.
func (n *node) connect(t *testing.T, header string, early []byte) (*client, *http.Response) {
	t.Helper()
	c := n.dial(t)
	c.write(append([]byte(handshook+header+"\r\n"), early...), 0)
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols ||
		resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("handshake: %+v %v", resp, err)
	}
	return c, resp
}

// write sends b in pieces of chop bytes; 0: at once. That the server has ended the
// connection already is seen where its answer is read.
func (c *client) write(b []byte, chop int) {
	if chop == 0 {
		chop = max(1, len(b))
	}
	for len(b) > 0 {
		n := min(chop, len(b))
		if _, err := c.conn.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
	}
}

// reply is a frame of the server.
type reply struct {
	first   byte
	payload string
}

func (r reply) String() string {
	if len(r.payload) > 200 {
		return fmt.Sprintf("%02x of %d bytes %.40q…", r.first, len(r.payload), r.payload)
	}
	return fmt.Sprintf("%02x %q", r.first, r.payload)
}

// next reads a frame, and checks what RFC 6455 asks of any.
func (c *client) next() (reply, error) {
	var head [8]byte
	if _, err := io.ReadFull(c.in, head[:2]); err != nil {
		return reply{}, err
	}
	r := reply{first: head[0]}
	length, least := uint64(head[1]), uint64(0)
	if head[1]&maskBit != 0 {
		return r, fmt.Errorf("a masked frame of the server: % x", head[:2])
	}
	switch length {
	case 126:
		if _, err := io.ReadFull(c.in, head[:2]); err != nil {
			return r, err
		}
		length, least = uint64(binary.BigEndian.Uint16(head[:])), 126
	case 127:
		if _, err := io.ReadFull(c.in, head[:8]); err != nil {
			return r, err
		}
		length, least = binary.BigEndian.Uint64(head[:]), 1<<16
	}
	if length < least || length > 1<<26 {
		return r, fmt.Errorf("a frame of the server has the length %d, written in a way for %d and more", length, least)
	}
	b := make([]byte, length)
	_, err := io.ReadFull(c.in, b)
	r.payload = string(b)
	return r, err
}

// hears fails the test unless the server says this next.
func (c *client) hears(want ...reply) {
	c.t.Helper()
	for _, w := range want {
		got, err := c.next()
		if err != nil || got != w {
			c.t.Fatalf("got %v %v, want %v", got, err, w)
		}
	}
}

// hearsClose wants a Close with the code (CodeNoStatus: without one), and then the
// clean end of TLS and TCP: a reset could have destroyed the Close.
func (c *client) hearsClose(code int) {
	c.t.Helper()
	got, err := c.next()
	if err != nil || got.first != finBit|opClose {
		c.t.Fatalf("got %v %v, want a Close with %d", got, err, code)
	}
	is := CodeNoStatus
	if len(got.payload) >= 2 {
		is = int(binary.BigEndian.Uint16([]byte(got.payload)))
	}
	if is != code || len(got.payload) == 1 {
		c.t.Fatalf("got a Close with %q, want %d", got.payload, code)
	}
	if rest, err := io.ReadAll(c.in); len(rest) > 0 || err != nil {
		c.t.Fatalf("after the Close came % x and %v, want the end", rest, err)
	}
	_ = c.conn.Close()
}

// step is a part of a case: what the client sends, in pieces of chop bytes, and
// what it hears then.
type step struct {
	frames [][]byte
	chop   int
	want   []reply
}

// Chops besides numbers of bytes.
const (
	oneWrite  = 0
	frameWise = -1
)

func send(chop int, frames ...[]byte) step { return step{frames: frames, chop: chop} }

func (s step) hears(want ...reply) step {
	s.want = want
	return s
}

// run takes a step.
func (c *client) run(s step) {
	c.t.Helper()
	if s.chop == frameWise {
		for _, f := range s.frames {
			c.write(f, oneWrite)
		}
	} else {
		c.write(join(s.frames...), s.chop)
	}
	c.hears(s.want...)
}

// fine is the code of cases that end as the client wants it: by its Close.
const fine = CodeNormal

// suite is a table of cases.
type suite struct {
	names map[string]bool
	cases []suiteCase
}

// suiteCase is a case; code is the Close's at its end.
type suiteCase struct {
	id    string
	code  int
	steps []step
}

func (s *suite) add(id string, code int, steps ...step) {
	if s.names == nil {
		s.names = map[string]bool{}
	}
	if s.names[id] {
		panic("two cases " + id)
	}
	s.names[id] = true
	s.cases = append(s.cases, suiteCase{id: id, code: code, steps: steps})
}

// echo adds a case of one message in one frame.
func (s *suite) echo(id string, op byte, message string, chop int) {
	s.add(id, fine, send(chop, masked(finBit|op, message)).hears(reply{finBit | op, echoOf(message)}))
}

// run runs all cases on all roads; one connection a case.
func (s *suite) run(t *testing.T, change func(*config.Config)) {
	t.Helper()
	onEveryRoad(t, change, func(t *testing.T, n *node) {
		for _, tc := range s.cases {
			t.Run(tc.id, func(t *testing.T) {
				c, _ := n.connect(t, "", nil)
				for _, step := range tc.steps {
					c.run(step)
				}
				if tc.code == fine {
					c.write(closing(CodeNormal, ""), oneWrite)
				}
				c.hearsClose(tc.code)
			})
		}
	})
}

// closing is a client's Close.
func closing(code int, reason string) []byte {
	return masked(finBit|opClose, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason)
}

// Frames of the server.
func aText(s string) reply   { return reply{finText, s} }
func aBinary(s string) reply { return reply{finBinary, s} }
func aPong(s string) reply   { return reply{finBit | opPong, s} }

// Frames of the client.
func ping(s string) []byte { return masked(finBit|opPing, s) }
func say(s string) []byte  { return masked(finText, s) }

// fragments is a message in frames of at most size bytes.
func fragments(op byte, message string, size int) [][]byte {
	var frames [][]byte
	for first := true; first || message != ""; first = false {
		n := min(size, len(message))
		b := op
		if !first {
			b = opContinuation
		}
		if n == len(message) {
			b |= finBit
		}
		frames = append(frames, masked(b, message[:n]))
		message = message[n:]
	}
	return frames
}

func stars(n int) string { return strings.Repeat("*", n) }
