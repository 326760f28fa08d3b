package webhook

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/httpclient"
	"github.com/pushcart/pushcart/internal/tlsconf"
)

// Settings are what of the configuration may change while the process runs
// (SPEC §2). They do not change: a reload makes new ones and calls
// Dispatcher.Apply.
type Settings struct {
	wanted      map[string]bool
	targets     map[string]*fasthttp.URI // by event; "{event}" replaced
	to          *httpclient.Target       // nil: no webhook
	client      *httpclient.Client
	signer      *signer
	timeout     time.Duration
	maxAnswer   config.Size
	maxInFlight int
	structured  bool
	batch       config.Batch
	breaker     config.Breaker
	outbox      config.WebhookOutbox
	kept        broker.OutboxLimits
	retry       config.Retry
}

// NewSettings makes settings from their sections of the configuration; a URL that is a
// bare path is a route of backend. Without a URL no event is wanted.
func NewSettings(cfg config.Webhook, backend config.Backend) (*Settings, error) {
	set := &Settings{
		wanted: map[string]bool{}, targets: map[string]*fasthttp.URI{}, timeout: cfg.Timeout, maxAnswer: cfg.MaxAnswer,
		maxInFlight: cfg.MaxInFlight, outbox: cfg.Outbox, retry: cfg.Retry,
		kept:       broker.OutboxLimits{Waiting: cfg.Outbox.Redis, DeadLetters: cfg.DeadLetters.Messages, Age: cfg.DeadLetters.Age},
		structured: cfg.Format == config.FormatStructured, batch: cfg.Batch, breaker: cfg.Breaker,
	}
	if cfg.URL == "" {
		return set, nil
	}
	var err error
	if set.signer, err = newSigner(cfg.Secrets); err != nil {
		return nil, err
	}
	set.to, err = httpclient.Resolve(cfg.URL, cfg.Host, httpclient.Backend{
		URL: backend.URL, TLS: tlsconf.Trust(backend.TLS), PreserveHost: backend.PreserveHost,
	})
	if err != nil {
		return nil, fmt.Errorf("webhook.url: %w", err)
	}
	set.client = httpclient.New(httpclient.Options{
		Endpoint: set.to.Endpoint, MaxConns: cfg.MaxInFlight, MaxBody: int(cfg.MaxAnswer),
	})
	all := slices.Contains(cfg.Events, "*")
	for _, e := range append(eventNames[:], batchName) {
		set.wanted[e] = e != batchName && (all || slices.Contains(cfg.Events, e))
		uri := &fasthttp.URI{DisablePathNormalizing: true}
		if err := uri.Parse(nil, []byte(strings.ReplaceAll(set.to.URL, "{event}", e))); err != nil {
			return nil, fmt.Errorf("webhook.url: %w", err)
		}
		set.targets[e] = uri
	}
	return set, nil
}

// Wants says whether webhook.events names the event.
func (s *Settings) Wants(name string) bool { return s.wanted[name] }

// Settings returns the newest settings.
func (d *Dispatcher) Settings() *Settings { return d.settings.Load() }

// Apply changes the settings. Every later attempt uses them, so a rotated secret signs
// the next one, and waiting events go to the new URL. Attempts in flight finish as they
// began. Apply must not be called after Close.
func (d *Dispatcher) Apply(set *Settings) {
	old := d.settings.Swap(set)
	d.queue.closeBreakers()
	d.queue.resize(set.maxInFlight)
	if d.letters != nil {
		d.letters.LimitOutbox(set.kept)
	}
	if old.client != nil {
		d.retire(old.client)
	}
}

// retire keeps a client whose requests may be under way until they are over: Close
// cuts them.
func (d *Dispatcher) retire(c *httpclient.Client) {
	c.CloseIdle()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retired = append(slices.DeleteFunc(d.retired, (*httpclient.Client).Unused), c)
}

// cut ends all requests under way.
func (d *Dispatcher) cut() {
	d.cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range append(d.retired, d.settings.Load().client) {
		if c != nil {
			c.Cut()
			c.CloseIdle()
		}
	}
}
