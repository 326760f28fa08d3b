package testbackend

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Request is one that came.
type Request struct {
	// Event is ce-type without "pushcart.".
	Event string
	// Connection is ce-connectionid.
	Connection string
	Method     string
	// Target is the request target as it was sent.
	Target string
	Header http.Header
	Body   string
}

// Answer writes the response to one request.
type Answer func(http.ResponseWriter, *Request)

// Backend listens on a port of its own until the test ends. All methods may be
// called concurrently.
type Backend struct {
	URL string

	ended chan struct{}

	mu      sync.Mutex // guards all below
	got     []*Request
	answers map[string][]Answer
}

// New starts a backend that answers 204.
func New(t testing.TB) *Backend {
	t.Helper()
	b := &Backend{answers: map[string][]Answer{}, ended: make(chan struct{})}
	s := httptest.NewServer(http.HandlerFunc(b.serve))
	b.URL = s.URL
	t.Cleanup(func() {
		close(b.ended)
		s.CloseClientConnections()
		s.Close()
	})
	return b
}

// Script sets what the event's next requests are answered; the last one also
// answers those that follow. The event "" stands for those without a script.
func (b *Backend) Script(event string, answers ...Answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers[event] = answers
}

// Got returns what came so far, in order.
func (b *Backend) Got() []*Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*Request(nil), b.got...)
}

// Wait returns the first n requests; it fails the test if they do not come.
func (b *Backend) Wait(t testing.TB, n int) []*Request {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if got := b.Got(); len(got) >= n {
			return got
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the backend got %d requests, want %d", len(b.Got()), n)
		}
	}
}

func (b *Backend) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	req := &Request{
		Event:      strings.TrimPrefix(r.Header.Get("ce-type"), "pushcart."),
		Connection: r.Header.Get("ce-connectionid"),
		Method:     r.Method, Target: r.RequestURI, Header: r.Header, Body: string(body),
	}
	req.Header.Set("Host", r.Host)
	b.answer(req)(w, req)
}

// answer records the request and takes its answer off the script.
func (b *Backend) answer(r *Request) Answer {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, r)
	name := r.Event
	if len(b.answers[name]) == 0 {
		name = ""
	}
	script := b.answers[name]
	switch len(script) {
	case 0:
		return Status(http.StatusNoContent)
	case 1:
	default:
		b.answers[name] = script[1:]
	}
	return script[0]
}

// Status answers with a status and header names and values.
func Status(code int, header ...string) Answer { return Say(code, "", header...) }

// Say answers with a status, a body and header names and values.
func Say(code int, body string, header ...string) Answer {
	return func(w http.ResponseWriter, _ *Request) {
		w.Header()["Content-Type"] = nil // none but what is asked for
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// Hold answers only when the channel is closed, or the test ends.
func (b *Backend) Hold(until <-chan struct{}, then Answer) Answer {
	return func(w http.ResponseWriter, r *Request) {
		select {
		case <-until:
			then(w, r)
		case <-b.ended:
		}
	}
}

// Hang never answers.
func (b *Backend) Hang() Answer { return b.Hold(nil, nil) }

// Raw writes these bytes instead of a response and closes the connection; "" only
// closes it.
func Raw(bytes string) Answer {
	return func(w http.ResponseWriter, _ *Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, bytes)
		_ = conn.Close()
	}
}
