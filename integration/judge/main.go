// Command judge reads webhooks with the libraries of CloudEvents and Standard Webhooks,
// which nobody here wrote. Requests come on stdin and what it makes of them goes to
// stdout, as JSON; see integration/judges_test.go. It is a module of its own, so that
// nothing of the libraries comes into the sidecar's.
package main

import (
	"bytes"
	"encoding/json"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/cloudevents/sdk-go/v2/event"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

type request struct {
	Headers map[string]string
	Body    []byte
}

type verdict struct {
	Error  string       `json:"error,omitempty"`
	Events []attributes `json:"events,omitempty"`
}

type attributes map[string]any

func main() {
	var requests []request
	if err := json.NewDecoder(os.Stdin).Decode(&requests); err != nil {
		log.Fatal(err)
	}
	verdicts := make([]verdict, len(requests))
	for i, r := range requests {
		events, err := judge(r, os.Args[1:])
		if err != nil {
			verdicts[i].Error = err.Error()
			continue
		}
		verdicts[i].Events = events
	}
	if err := json.NewEncoder(os.Stdout).Encode(verdicts); err != nil {
		log.Fatal(err)
	}
}

// judge verifies the signature of each secret, then reads the events.
func judge(r request, secrets []string) (out []attributes, err error) {
	req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(r.Body))
	for name, value := range r.Headers {
		req.Header.Set(name, value)
	}
	for _, secret := range secrets {
		hook, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return nil, err
		}
		if err := hook.Verify(r.Body, req.Header); err != nil {
			return nil, err
		}
	}
	var events []event.Event
	if cehttp.IsHTTPBatch(req.Header) {
		events, err = cehttp.NewEventsFromHTTPRequest(req)
	} else {
		var one *event.Event
		if one, err = cehttp.NewEventFromHTTPRequest(req); err == nil {
			events = []event.Event{*one}
		}
	}
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		if err := e.Validate(); err != nil {
			return nil, err
		}
		a, err := read(e, req.Header.Get("ce-id") != "")
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// read is an event as all judges show it. In binary mode values are percent-encoded,
// which the library leaves to its user.
func read(e event.Event, binary bool) (attributes, error) {
	a := attributes{
		"specversion": e.SpecVersion(), "id": e.ID(), "type": e.Type(), "source": e.Source(), "subject": e.Subject(),
		"time": e.Time().UTC().Format("2006-01-02T15:04:05.000Z"), "datacontenttype": e.DataContentType(), "data": e.Data(),
	}
	for name, value := range e.Extensions() {
		a[name] = value
	}
	for name, value := range a {
		text, ok := value.(string)
		if !binary || !ok {
			continue
		}
		var err error
		if a[name], err = url.PathUnescape(text); err != nil {
			return nil, err
		}
	}
	return a, nil
}
