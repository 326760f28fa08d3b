package integration

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// backend is a scripted app: it records what it gets, and answers events as the
// test says.
type backend struct {
	*httptest.Server
	mu     sync.Mutex // guards all below
	events []event
	answer func(w http.ResponseWriter, e event)
}

// event is a webhook as it came.
type event struct {
	kind, id, connection, user, sequence, state, body, contentType string
	header                                                         http.Header
}

// newBackend answers 200 to everything, and events with answer, or 204 without.
func newBackend(t *testing.T, answer func(w http.ResponseWriter, e event)) *backend {
	t.Helper()
	b := &backend{answer: answer}
	b.Server = httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(b.Close)
	return b
}

func (b *backend) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.URL.Path != "/hooks/push" {
		fmt.Fprintf(w, "%s %s", r.Method, r.URL.Path)
		return
	}
	h := r.Header
	e := event{
		kind: h.Get("ce-type"), id: h.Get("ce-id"), connection: h.Get("ce-connectionid"), user: h.Get("ce-userid"),
		sequence: h.Get("ce-sequence"), state: h.Get("ce-state"), body: string(body),
		contentType: h.Get("Content-Type"), header: h,
	}
	b.mu.Lock()
	b.events = append(b.events, e)
	answer := b.answer
	b.mu.Unlock()
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(w, e)
}

func (b *backend) got(kind string) (out []event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		if e.kind == "pushcart."+kind {
			out = append(out, e)
		}
	}
	return out
}

const whsec = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// hooked is the configuration of a sidecar in front of b with all events.
func (b *backend) hooked() string {
	return "\nbackend: {url: '" + b.URL + "'}\nwebhook: {url: '" + b.URL + "/hooks/push', events: ['*'], secrets: [" + whsec + "], timeout: 2s}"
}
