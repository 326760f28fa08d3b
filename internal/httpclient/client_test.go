package httpclient

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/dial"
	"github.com/pushcart/pushcart/internal/leak"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/internal/tlsconf"
)

func TestMain(m *testing.M) { leak.Main(m) }

// server answers each request on a connection with the next of answers and then
// closes it; "" closes at once.
func server(t *testing.T, answers ...string) (url string) {
	t.Helper()
	ln := testkit.Listen(t)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(conn)
			for len(answers) > 0 {
				answer := answers[0]
				answers = answers[1:]
				for line, err := in.ReadString('\n'); err == nil && line != "\r\n"; {
					line, err = in.ReadString('\n')
				}
				_, _ = io.WriteString(conn, answer)
				if !strings.HasPrefix(answer, "HTTP/1.1 204") {
					break
				}
			}
			_ = conn.Close()
		}
	}()
	return "http://" + ln.Addr().String()
}

func do(t *testing.T, url string, o Options, timeout time.Duration) error {
	t.Helper()
	e, err := dial.New(url, tlsconf.Trust{})
	if err != nil {
		t.Fatal(err)
	}
	o.Endpoint, o.MaxConns = e, 1
	c := New(o)
	t.Cleanup(c.Cut)
	return get(c, url, timeout)
}

func get(c *Client, url string, timeout time.Duration) error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI(url)
	return c.Do(req, resp, timeout)
}

// The library's errors advise on settings that nobody here has ("increase
// ReadBufferSize") and quote what came.
func TestDo_ErrsInOurWords(t *testing.T) {
	f := func(answer string, want error) {
		t.Helper()
		err := do(t, server(t, answer), Options{MaxBody: 10}, 10*time.Second)
		if !errors.Is(err, want) || err != nil && (strings.Contains(err.Error(), "fasthttp") || strings.Contains(err.Error(), "S3CRET")) {
			t.Errorf("%.40q: got %v, want %v", answer, err, want)
		}
	}
	f("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", nil)
	f("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n0123456789a", ErrBodyTooLarge)
	f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n012", ErrBroken)
	f("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", MaxHead)+"\r\n\r\n", ErrHeadTooLarge)
	f("", ErrClosed)
	f("S3CRET\r\n\r\n", ErrMalformed)
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: S3CRET\r\n\r\n", ErrMalformed)
}

func TestDo_ErrsWithoutAnAnswer(t *testing.T) {
	ln := testkit.Listen(t)
	silent := "http://" + ln.Addr().String()
	if err := do(t, silent, Options{}, 20*time.Millisecond); !errors.Is(err, ErrTimeout) {
		t.Errorf("a silent server: got %v, want ErrTimeout", err)
	}
	_ = ln.Close()
	if err := do(t, silent, Options{}, 10*time.Second); !errors.Is(err, ErrNoConnection) {
		t.Errorf("nobody listens: got %v, want ErrNoConnection", err)
	}
}

func TestDo_SendsAgainOnlyWhatMayBe(t *testing.T) {
	const ok = "HTTP/1.1 204 No Content\r\n\r\n"
	if err := do(t, server(t, "", ok), Options{Idempotent: true}, 10*time.Second); err != nil {
		t.Errorf("idempotent: got %v, want the second answer", err)
	}
	if err := do(t, server(t, "", "", ok), Options{Idempotent: true}, 10*time.Second); !errors.Is(err, ErrClosed) {
		t.Errorf("idempotent, closed twice: got %v, want ErrClosed", err)
	}
	if err := do(t, server(t, "", ok), Options{}, 10*time.Second); !errors.Is(err, ErrClosed) {
		t.Errorf("not idempotent: got %v, want ErrClosed", err)
	}
}

func TestFetch_FollowsAFewRedirects(t *testing.T) {
	to := func(status int, location string) string {
		return fmt.Sprintf("HTTP/1.1 %d x\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", status, location)
	}
	const keys = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nkeys"
	f := func(want string, wantErr error, answers ...string) {
		t.Helper()
		got, err := Fetch(t.Context(), server(t, answers...)+"/a//b?c", 10, 10*time.Second)
		if string(got) != want || !errors.Is(err, wantErr) {
			t.Errorf("%.80q: got %q, %v, want %q, %v", answers, got, err, want, wantErr)
		}
	}
	f("keys", nil, keys)
	f("keys", nil, to(301, "/x"), to(303, "y?z"), to(308, server(t, keys)+"/keys"))
	f("", errRedirects, to(302, "/x"), to(302, "/x"), to(302, "/x"), to(302, "/x"), keys)
	f("", errLocation, to(307, "file:///etc/passwd"))
	f("", errLocation, to(307, ""))
	f("", ErrBodyTooLarge, "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n01234567890")
}

func TestFetch_NeverLeavesHTTPS(t *testing.T) {
	f := func(from, location, want string, wantErr error) {
		t.Helper()
		if got, err := redirect(from, location); got != want || !errors.Is(err, wantErr) {
			t.Errorf("from %s to %q: got %q, %v, want %q, %v", from, location, got, err, want, wantErr)
		}
	}
	f("https://a/x/y?q", "../z?r#f", "https://a/z?r", nil)
	f("http://a/x", "https://b/y", "https://b/y", nil)
	f("https://a/x", "//b/y", "https://b/y", nil)
	f("https://a/x", "http://a/x", "", errDowngrade)
	f("https://a/x", "HTTP://a/x", "", errDowngrade)
	f("https://a/x", "ftp://a/x", "", errLocation)
	f("https://a/x", "", "", errLocation)
	f("https://a/x", "http://", "", errLocation)
}

func TestTarget_AHandshakeWithoutHostGetsTheServers(t *testing.T) {
	to, err := Resolve("/hooks", "preserve", Backend{URL: "http://app:3000"})
	if err != nil || to.URL != "http://app:3000/hooks" || to.Host("") != "app:3000" || to.Host("x") != "x" {
		t.Errorf("got %+v, %v", to, err)
	}
}
