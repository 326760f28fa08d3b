package ws

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
)

// caller is a client that asked to be let in.
type caller struct {
	net.Conn
	in     *bufio.Reader
	status int
	retry  string // Retry-After
}

// call makes a handshake from an address, with a token if one is given.
func call(t *testing.T, s *Server, ip, token string) *caller {
	t.Helper()
	client, server := net.Pipe()
	head := "GET /_push HTTP/1.1\r\nHost: app\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if token != "" {
		head += "Authorization: Bearer " + token + "\r\n"
	}
	var r http1.Request
	if err := http1.ParseRequest([]byte(head+"\r\n"), &r); err != nil {
		t.Fatal(err)
	}
	go s.Serve(context.Background(), server, &r, nil, clientaddr.Origin{IP: netip.MustParseAddr(ip), ForwardedFor: ip, Proto: "http", Host: "app"})
	c := &caller{Conn: client, in: bufio.NewReader(client)}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.status, c.retry = resp.StatusCode, resp.Header.Get("Retry-After")
	if c.status != http.StatusSwitchingProtocols {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = client.Close()
	}
	return c
}

// refusedAs is how often the metrics say that a handshake ended with a result.
func refusedAs(s *Server, result string, times int) bool {
	w := httptest.NewRecorder()
	s.metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return strings.Contains(w.Body.String(), fmt.Sprintf("pushcart_connects_total{result=%q} %d\n", result, times))
}

// limited runs a test on a server of its own, in a bubble with a clock of its own.
func limited(t *testing.T, l config.Limits, test func(t *testing.T, s *Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, h := newTestServer(t, func(c *config.Config) {
			c.Limits = l
			c.Auth.JWT.Secret = testSecret
		}, goEngine())
		test(t, s)
		closeServer(t, s, h)
	})
}

func TestLimits_AFullNodeAnswers503(t *testing.T) {
	limited(t, config.Limits{Connections: 2}, func(t *testing.T, s *Server) {
		first, second := call(t, s, "192.0.2.1", ""), call(t, s, "192.0.2.2", "")
		for range 3 {
			if c := call(t, s, "192.0.2.3", ""); c.status != 503 || c.retry != "5" {
				t.Errorf("got %d, Retry-After %q, want 503", c.status, c.retry)
			}
		}
		if !refusedAs(s, "limit", 3) {
			t.Error("the metrics say otherwise")
		}
		_ = first.Close()
		synctest.Wait()
		third := call(t, s, "192.0.2.3", "")
		if third.status != 101 {
			t.Errorf("one left, and the next got %d", third.status)
		}
		_, _ = second.Close(), third.Close()
	})
}

func TestLimits_AnAddressWithAllItMayHaveGets429(t *testing.T) {
	limited(t, config.Limits{ConnectionsPerIP: 2}, func(t *testing.T, s *Server) {
		f := func(ip string, want int) *caller {
			t.Helper()
			c := call(t, s, ip, "")
			if c.status != want || want == 429 && c.retry != "1" {
				t.Errorf("%s: got %d, Retry-After %q, want %d", ip, c.status, c.retry, want)
			}
			return c
		}
		let := []*caller{f("192.0.2.1", 101), f("192.0.2.1", 101)}
		f("192.0.2.1", 429)
		f("::ffff:192.0.2.1", 429) // the same
		let = append(let, f("192.0.2.2", 101), f("2001:db8:0:1::1", 101), f("2001:db8:0:1:ffff::", 101))
		f("2001:db8:0:1::2", 429) // one /64 is one address
		let = append(let, f("2001:db8:0:2::1", 101))
		if !refusedAs(s, "rate", 3) {
			t.Error("the metrics say otherwise")
		}
		_, _ = let[0].Close(), let[3].Close()
		synctest.Wait()
		let = append(let, f("192.0.2.1", 101), f("2001:db8:0:1::2", 101))
		f("192.0.2.1", 429)
		for _, c := range let {
			_ = c.Close()
		}
		synctest.Wait()
		if n := s.Connections(); n != 0 {
			t.Errorf("all left, and %d connections are still counted", n)
		}
	})
}

func TestLimits_AnAddressThatConnectsTooFastGets429(t *testing.T) {
	limited(t, config.Limits{ConnectRatePerIP: 2}, func(t *testing.T, s *Server) {
		enter := func(ip string) (in int) {
			for range 30 {
				c := call(t, s, ip, "")
				_ = c.Close()
				if c.status == 429 && c.retry != "" {
					return in
				}
				in++
			}
			return in
		}
		for _, ip := range []string{"192.0.2.1", "2001:db8::1"} {
			if n := enter(ip); n != 20 {
				t.Errorf("%s: %d connections at once, want a burst of 20", ip, n)
			}
		}
		if n := enter("2001:db8::2"); n != 0 {
			t.Errorf("the same /64: %d connections more", n)
		}
		<-time.After(2 * time.Second)
		if n := enter("192.0.2.1"); n != 4 {
			t.Errorf("%d connections after 2 s, want 4", n)
		}
		if !refusedAs(s, "rate", 4) {
			t.Error("the metrics say otherwise")
		}
	})
}

// TestLimits_MessageRateSlowsReading: 2 a second, bursts of 4; the messages are as
// large as what is read at once, so that the client feels it.
func TestLimits_MessageRateSlowsReading(t *testing.T) {
	f := func(rate float64, from, to time.Duration) {
		t.Helper()
		limited(t, config.Limits{MessageRate: rate}, func(t *testing.T, s *Server) {
			c, began := call(t, s, "192.0.2.1", ""), time.Now()
			drained := make(chan struct{})
			go func() {
				defer close(drained)
				_, _ = io.Copy(io.Discard, c.in)
			}()
			for range 10 {
				if _, err := c.Write(masked(finText, strings.Repeat("x", 8<<10))); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			if d := time.Since(began); d < from || d > to {
				t.Errorf("10 messages with %v a second took %v, want %v to %v", rate, d, from, to)
			}
			if n := s.counts.messages.Load(); n != 10 {
				t.Errorf("%d messages came, want 10: none is lost", n)
			}
			_ = c.Close()
			<-drained
		})
	}
	f(0, 0, 0)
	f(2, 2*time.Second, 4*time.Second)
}

const testSecret = "0123456789abcdef0123456789abcdef"

func tokenOf(user string) string {
	enc := base64.RawURLEncoding
	t := enc.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." +
		enc.EncodeToString(fmt.Appendf(nil, `{"sub":%q,"exp":%d}`, user, time.Now().Add(time.Hour).Unix()))
	mac := hmac.New(sha256.New, []byte(testSecret))
	mac.Write([]byte(t))
	return t + "." + enc.EncodeToString(mac.Sum(nil))
}

func TestLimits_AUserWithAllItMayHaveGets429(t *testing.T) {
	limited(t, config.Limits{ConnectionsPerUser: 2, PerUserPolicy: config.PolicyReject}, func(t *testing.T, s *Server) {
		f := func(user string, want int) *caller {
			t.Helper()
			token := ""
			if user != "" {
				token = tokenOf(user)
			}
			c := call(t, s, "192.0.2.1", token)
			if c.status != want || want == 429 && c.retry != "5" {
				t.Errorf("%q: got %d, Retry-After %q, want %d", user, c.status, c.retry, want)
			}
			return c
		}
		let := []*caller{f("ann", 101), f("ann", 101), f("bob", 101), f("", 101), f("", 101), f("", 101)}
		f("ann", 429)
		if !refusedAs(s, "limit", 1) {
			t.Error("the metrics say otherwise")
		}
		_ = let[0].Close()
		synctest.Wait()
		let = append(let, f("ann", 101))
		f("ann", 429)
		for _, c := range let {
			_ = c.Close()
		}
	})
}

func TestLimits_TheOldestOfAUserIsReplaced(t *testing.T) {
	limited(t, config.Limits{ConnectionsPerUser: 1, PerUserPolicy: config.PolicyReplace}, func(t *testing.T, s *Server) {
		var last *caller
		for range 5 {
			next := call(t, s, "192.0.2.1", tokenOf("ann"))
			if next.status != 101 {
				t.Fatalf("got %d", next.status)
			}
			if last != nil {
				expectReplaced(t, last)
			}
			last = next
		}
		_ = last.Close()
		synctest.Wait()
		if n := s.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

func expectReplaced(t *testing.T, c *caller) {
	t.Helper()
	op, payload := readFrame(t, c.in)
	checkClose(t, op, payload, CodeReplaced)
	if reason := payload[2:]; reason != "replaced by a newer connection" {
		t.Errorf("reason %q", reason)
	}
	_ = c.Close()
}

// hasty is seats that are lost as soon as they are given: a newer connection on
// another node was quicker than the handshake.
type hasty struct {
	broker.Seats
	evict func(string)
	left  chan string
}

func (h *hasty) Start(evict func(string)) { h.evict = evict }

func (h *hasty) Take(_, connection string) bool {
	h.evict(connection)
	return true
}

func (h *hasty) Leave(_, connection string) { h.left <- connection }

func TestLimits_ReplacedWithinItsHandshakeIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seats := &hasty{left: make(chan string, 8)}
		s, h := newSeatedServer(t, func(c *config.Config) { c.Auth.JWT.Secret = testSecret }, goEngine(), seats)
		expectReplaced(t, call(t, s, "192.0.2.1", tokenOf("ann")))
		<-seats.left
		closeServer(t, s, h)
	})
}
