package proxy_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// answersWell are what a backend of the chaos below may do with a request and must
// be passed on.
var answersWell = []string{"length", "chunks", "hints", "slow"}

// misbehaves are what it may do that ends connections.
var misbehaves = []string{"surplus", "surplus204", "silent", "half", "short", "chunkcut", "early", "earlyclose", "reset", "badchunk", "close"}

// behave answers one request; false: the connection ends.
func behave(conn net.Conn, how, id string, body io.Reader) bool {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(conn, format, args...) }
	if !strings.HasPrefix(how, "early") {
		if _, err := io.Copy(io.Discard, body); err != nil {
			return false
		}
	}
	length := "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
	evil := "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	switch how {
	case "length":
		say(length, len(id), id)
	case "chunks":
		say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(id), id)
	case "hints":
		say("HTTP/1.1 103 Early Hints\r\n\r\n"+length, len(id), id)
	case "slow":
		say("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(id), id[:2])
		<-time.After(time.Duration(rand.IntN(10)) * time.Millisecond)
		say("%s", id[2:])
	case "surplus":
		say(length+"%s", len(id), id, evil)
	case "surplus204":
		say("HTTP/1.1 204 No Content\r\n\r\n%s", evil)
	case "half":
		say("HTTP/1.1 200 OK\r\nContent-Le")
		return false
	case "short":
		say(length, len(id)+9, id)
		return false
	case "chunkcut":
		say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(id), id)
		return false
	case "badchunk":
		say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%sX\r\n%s", len(id), id, evil)
	case "early":
		say(length, len(id), id)
		_, err := io.Copy(io.Discard, body)
		return err == nil
	case "earlyclose":
		say(length, len(id), id)
		return false
	case "close":
		say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(id), id)
		return false
	case "reset":
		say(length, len(id), id)
		if t, ok := conn.(*tls.Conn); ok {
			conn = t.NetConn()
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
			_ = tcp.Close() // under TLS
		}
		return false
	default: // silent
		return false
	}
	return true
}

// chaosBackend does what each request's query asks for.
func chaosBackend(r *rig) {
	for p := range r.peers {
		go func() {
			defer p.conn.Close()
			for {
				_ = p.conn.SetDeadline(time.Now().Add(patience))
				req, err := http.ReadRequest(p.in)
				if err != nil {
					return
				}
				id := strings.TrimPrefix(req.URL.Path, "/")
				if id == "smuggled" {
					r.t.Error("part of a body reached the backend as a request")
				}
				if !behave(p.conn, req.URL.RawQuery, id, req.Body) {
					return
				}
			}
		}()
	}
}

// chaosRequest is a request for id, in one of the ways to frame it, and where it may
// be cut so that it is not whole.
func chaosRequest(id, how string, rng *rand.Rand) string {
	smuggled := "GET /smuggled?length HTTP/1.1\r\nHost: app\r\n\r\n"
	body := strings.Repeat(smuggled, rng.IntN(6000))
	start := fmt.Sprintf(" /%s?%s HTTP/1.1\r\nHost: app\r\n", id, how)
	switch rng.IntN(4) {
	case 0:
		return fmt.Sprintf("POST%sContent-Length: %d\r\n\r\n%s", start, len(body), body)
	case 1:
		return fmt.Sprintf("POST%sTransfer-Encoding: chunked\r\n\r\n%x;a=b\r\n%s\r\n0\r\n\r\n", start, len(smuggled), smuggled)
	}
	return "GET" + start + "\r\n"
}

// TestChaos_NobodyGetsAnothersAnswer: whatever clients and backends do to their
// connections, what comes back on one is the answer to its own request, or nothing,
// or an error of the proxy's own.
func TestChaos_NobodyGetsAnothersAnswer(t *testing.T) {
	change := func(c *config.Config) {
		c.Backend.ResponseTimeout, c.Backend.MaxConnections = 2*time.Second, 8
		c.Client.BodyTimeout = 2 * time.Second
	}
	plain := func(address string) (net.Conn, error) { return net.Dial("tcp", address) }
	t.Run("TCP", func(t *testing.T) { chaos(t, newRig(t, change), plain) })
	t.Run("unix", func(t *testing.T) { // whose buffers are small
		ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "app.sock"))
		if err != nil {
			t.Fatal(err)
		}
		chaos(t, newRigAt(t, ln, "unix:"+ln.Addr().String(), change), plain)
	})
	t.Run("TLS", func(t *testing.T) {
		dir := t.TempDir()
		cert := testkit.NewCertificate(t, dir, "app.internal").Pair
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
		if err != nil {
			t.Fatal(err)
		}
		r := newRigAt(t, ln, "https://"+ln.Addr().String(), change, func(c *config.Config) {
			c.Backend.TLS.Insecure = true
			c.TLS = config.TLS{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
		})
		chaos(t, r, func(address string) (net.Conn, error) {
			return tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		})
	})
}

func chaos(t *testing.T, r *rig, dial func(address string) (net.Conn, error)) {
	t.Helper()
	go chaosBackend(r)
	seed := uint64(time.Now().UnixNano())
	var answered atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(2 * time.Second)
	for n := range uint64(8) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, n))
			for i := 0; time.Now().Before(end); i++ {
				conn, err := dial(r.address)
				if err != nil {
					t.Error(err)
					return
				}
				answered.Add(chaosClient(t, conn, fmt.Sprintf("%d-%d", n, i), rng))
			}
		})
	}
	wg.Wait()
	if answered.Load() < 20 {
		t.Errorf("only %d good answers", answered.Load())
	}
	if t.Failed() {
		t.Logf("seed %d", seed)
	}
}

// chaosClient asks some requests on one connection, and returns how many were
// answered well.
func chaosClient(t *testing.T, conn net.Conn, id string, rng *rand.Rand) (good int64) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	for k := range 1 + rng.IntN(4) {
		id := fmt.Sprintf("%s-%d", id, k)
		how := answersWell[rng.IntN(len(answersWell))]
		if rng.IntN(3) == 0 {
			how = misbehaves[rng.IntN(len(misbehaves))]
		}
		request := chaosRequest(id, how, rng)
		switch rng.IntN(8) {
		case 0: // leaves in the middle
			_, _ = io.WriteString(conn, request[:rng.IntN(len(request))])
			return good
		case 1: // leaves at once
			_, _ = io.WriteString(conn, request)
			return good
		case 2: // in two parts
			at := rng.IntN(len(request))
			_, _ = io.WriteString(conn, request[:at])
			<-time.After(time.Duration(rng.IntN(5)) * time.Millisecond)
			request = request[at:]
		}
		go func() { _, _ = io.WriteString(conn, request) }()
		ok, goesOn := chaosAnswer(t, in, id, how)
		if ok {
			good++
		}
		if !goesOn {
			return good
		}
	}
	return good
}

// chaosAnswer reads one answer.
func chaosAnswer(t *testing.T, in *bufio.Reader, id, how string) (good, goesOn bool) {
	for {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return false, false
		}
		if resp.StatusCode == http.StatusEarlyHints {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		got := string(body)
		switch {
		case resp.StatusCode == 200 && got == id && err == nil:
			good = true
		case resp.StatusCode == 200 && err != nil && strings.HasPrefix(id, got): // it broke off
		case resp.StatusCode == 204 && how == "surplus204":
		case resp.StatusCode >= 500 && strings.HasPrefix(got, `{"error":`):
		case resp.StatusCode == 408:
		default:
			t.Errorf("%s?%s: got %d %q, %v", id, how, resp.StatusCode, got, err)
			return false, false
		}
		return good, err == nil && !resp.Close
	}
}
