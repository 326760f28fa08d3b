package httpclient

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/dial"
	"github.com/pushcart/pushcart/internal/tlsconf"
)

// post asks url with a body while ctx lasts.
func post(ctx context.Context, c *Client, url string) (status int, err error) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI(url)
	req.Header.SetMethod(http.MethodPost)
	req.SetBodyString("hello")
	err = c.DoWhile(ctx, req, resp, time.Minute)
	return resp.StatusCode(), err
}

func TestDoWhile_IsCutWhenItsContextEnds(t *testing.T) {
	for name, start := range map[string]func(http.Handler) *httptest.Server{"http": httptest.NewServer, "https": httptest.NewTLSServer} {
		asked, cut := make(chan string, 1), make(chan struct{}, 1)
		s := start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			line, _ := bufio.NewReader(r.Body).ReadString(0)
			if r.URL.Path == "/hang" {
				asked <- line
				<-r.Context().Done()
				cut <- struct{}{}
			}
		}))
		e, err := dial.New(s.URL, tlsconf.Trust{Insecure: true})
		if err != nil {
			t.Fatal(err)
		}
		c := New(Options{Endpoint: e, MaxConns: 1, MaxBody: 10})
		for range 3 { // over kept connections, too
			if status, err := post(t.Context(), c, s.URL+"/"); status != 200 || err != nil {
				t.Errorf("%s: got %d, %v", name, status, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				_, err := post(ctx, c, s.URL+"/hang")
				ended <- err
			}()
			if body := <-asked; body != "hello" {
				t.Errorf("%s: the body is %q", name, body)
			}
			cancel()
			if err := <-ended; err == nil {
				t.Errorf("%s: it has an answer", name)
			}
			<-cut
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := post(ctx, c, s.URL+"/"); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", name, err)
		}
		c.CloseIdle()
		s.Close()
	}
}
