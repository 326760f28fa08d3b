package config

import (
	"net/url"
	"strings"
	"time"
)

// Webhook is where events go (SPEC §5).
type Webhook struct {
	// URL takes one POST per event; "{event}" in it is replaced by the event's name. A
	// bare path ("/hooks/push") is a route of the backend, reached over its socket and
	// TLS settings. Empty: no webhooks.
	URL string `yaml:"url"`
	// Host is the Host header to send; see auth.forward.host.
	Host string `yaml:"host"`
	// Events are the ones to send: connect, connected, message, subscribe, publish,
	// disconnected, user.online, user.offline, channel.occupied, channel.vacated,
	// presence.join, presence.leave; ["*"] is all. Required with URL.
	Events []string `yaml:"events"`
	// Secrets sign every event, "whsec_<base64>" of 24 to 64 bytes; one signature
	// each, so that one can be rotated.
	Secrets []Secret `yaml:"secrets"`
	// SecretsFile holds one secret a line, added to Secrets.
	SecretsFile string `yaml:"secrets_file"`
	// Unsigned sends events without a signature; for a backend that nobody else
	// can reach. Default false.
	Unsigned bool `yaml:"unsigned"`
	// PublicPath lets the webhook's path be reached through the public listener.
	// Default false: it is 404 there.
	PublicPath bool `yaml:"public_path"`
	// Timeout bounds one attempt. Default 5s.
	Timeout time.Duration `yaml:"timeout"`
	// MaxAnswer bounds the body of an answer; a larger one counts as an error. Default
	// 1MiB.
	MaxAnswer Size `yaml:"max_answer"`
	// ForwardHeaders are the handshake's headers to send with events.
	ForwardHeaders ForwardHeaders `yaml:"forward_headers"`
	// Outbox bounds the notifications that wait for their delivery.
	Outbox WebhookOutbox `yaml:"outbox"`
	// DeadLetters bounds the notifications that were given up and are kept for inspection
	// and replay.
	DeadLetters DeadLetters `yaml:"dead_letters"`
	// Format is binary or structured, the content mode of CloudEvents. In binary mode
	// attributes are headers and the signature covers the payload; in structured mode
	// everything is one JSON body, and the signature covers it. Default binary.
	Format string `yaml:"format"`
	// Batch combines notifications into one request.
	Batch Batch `yaml:"batch"`
	// MaxInFlight bounds requests in flight; connect and notifications get at most half
	// each. Default 256.
	MaxInFlight int `yaml:"max_in_flight"`
	// OnError says what happens when a request gets no answer.
	OnError OnError `yaml:"on_error"`
	// Breaker stops asking a backend that does not answer.
	Breaker Breaker `yaml:"breaker"`
	// Retry paces the attempts of notifications.
	Retry Retry `yaml:"retry"`
}

// ForwardHeaders are names of handshake headers, by event.
type ForwardHeaders struct {
	// Connect are sent with connect. Default Cookie, Authorization, User-Agent,
	// Accept-Language.
	Connect []string `yaml:"connect"`
	// Message are kept per connection (at most 4 KiB, else the handshake is
	// 431) and sent with message, subscribe and publish. Default none.
	Message []string `yaml:"message"`
}

// WebhookOutbox bounds notifications that wait, in memory and in Redis; past it the
// oldest are counted and logged as lost.
type WebhookOutbox struct {
	// Messages is the number of events in memory. Default 100000.
	Messages int `yaml:"messages"`
	// Bytes is their size. Default 64MiB.
	Bytes Size `yaml:"bytes"`
	// Redis is the number of events in Redis, of all nodes. Default 1000000.
	Redis int `yaml:"redis"`
}

// DeadLetters bounds the notifications that were refused for good, or not accepted within
// Retry.GiveUpAfter; past it the oldest are dropped.
type DeadLetters struct {
	// Messages is the number of events, on all nodes together. Default 10000.
	Messages int `yaml:"messages"`
	// Age is how long one is kept. Default 168h.
	Age time.Duration `yaml:"age"`
}

// Values of Webhook.Format.
const (
	FormatBinary     = "binary"
	FormatStructured = "structured"
)

// Batch combines notifications into one CloudEvents batch. Requests are never batched.
type Batch struct {
	// Events is the most events in one request, up to 1000; 1: no batches. Default 1.
	Events int `yaml:"events"`
	// Wait is how long a notification waits for others; 0: a request takes what is there
	// when it starts. Default 0s.
	Wait time.Duration `yaml:"wait"`
}

// Breaker answers requests at once while the backend does not answer: a connect by
// OnError, a message as unavailable. There is one for each of the two events.
type Breaker struct {
	// Failures in a row, from at least 3 connections, open it: no connection,
	// timeout, 502, 503, 504. 0: it never opens. Default 20.
	Failures int `yaml:"failures"`
	// Pause is how long it stays open; then one trial request is sent. Default 5s.
	Pause time.Duration `yaml:"pause"`
}

// OnError is deny or allow for each request.
type OnError struct {
	// Connect: deny answers the handshake 503; allow, only with auth.anonymous,
	// lets it in. Default deny.
	Connect string `yaml:"connect"`
	// Subscribe: deny answers the client unavailable; allow lets it subscribe. Default
	// deny.
	Subscribe string `yaml:"subscribe"`
	// Publish: the same for publishing. Default deny.
	Publish string `yaml:"publish"`
}

// Values of OnError.
const (
	Deny  = "deny"
	Allow = "allow"
)

// Retry paces the attempts of notifications: exponential with full jitter.
type Retry struct {
	// Min is the first pause. Default 500ms.
	Min time.Duration `yaml:"min"`
	// Max is the longest pause. Default 1m.
	Max time.Duration `yaml:"max"`
	// GiveUpAfter is the age at which an event becomes a dead letter. Default 24h.
	GiveUpAfter time.Duration `yaml:"give_up_after"`
}

// Wall is the path of webhook.url up to {event}. It, and everything below, is not
// reachable through the public listener (SPEC §7). "" means no wall.
func (w *Webhook) Wall() string {
	if w.URL == "" || w.PublicPath {
		return ""
	}
	before, _, _ := strings.Cut(w.URL, "{event}")
	u, err := url.Parse(before)
	if err != nil {
		return "/"
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	if leadsToRoot(path) {
		return "/"
	}
	return path
}

// leadsToRoot says whether a path is "/" for a backend that decodes it, merges
// slashes and resolves dots.
func leadsToRoot(path string) bool {
	for range 3 { // as often as the wall decodes
		if decoded, err := url.PathUnescape(path); err == nil {
			path = decoded
		}
	}
	depth := 0
	for segment := range strings.SplitSeq(strings.ReplaceAll(path, `\`, "/"), "/") {
		switch segment, _, _ = strings.Cut(segment, ";"); segment {
		case "", ".":
		case "..":
			depth = max(0, depth-1)
		default:
			depth++
		}
	}
	return depth == 0
}
