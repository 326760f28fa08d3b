package config

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/pushcart/pushcart/internal/nearest"
)

var eventNames = []string{
	"connect", "connected", "message", "subscribe", "publish", "disconnected",
	"user.online", "user.offline", "channel.occupied", "channel.vacated", "presence.join", "presence.leave",
}

func (c *Config) checkWebhook(p *Problems) {
	w := c.Webhook
	checkAsked(p, "webhook.url", w.URL)
	checkHost(p, "webhook.host", w.Host)
	checkHeaders(p, "webhook.forward_headers.connect", w.ForwardHeaders.Connect)
	checkHeaders(p, "webhook.forward_headers.message", w.ForwardHeaders.Message)
	positive(p, "webhook.max_answer", int64(w.MaxAnswer))
	if w.URL != "" {
		c.checkWebhookUse(p)
	} else if (len(w.Events) > 0 || len(w.Secrets) > 0) && !p.unread("webhook.url") {
		p.add("webhook.url", "is required with webhook.events and webhook.secrets, like /hooks/push")
	}
	for i, e := range w.Events {
		if e != "*" && !slices.Contains(eventNames, e) {
			p.addWord(item("webhook.events", i), append(slices.Clone(eventNames), "*"), `want one of %s or "*", got %q%s`, strings.Join(eventNames, ", "), e, hint(nearest.Word(e, eventNames)))
		}
	}
	for i, s := range w.Secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(s), "whsec_"))
		if !strings.HasPrefix(string(s), "whsec_") || err != nil || len(key) < 24 || len(key) > 64 {
			p.add(item("webhook.secrets", i), "want whsec_ and the base64 of 24 to 64 bytes")
		}
	}
	duration(p, "webhook.timeout", w.Timeout)
	positive(p, "webhook.max_in_flight", int64(w.MaxInFlight))
	positive(p, "webhook.outbox.messages", int64(w.Outbox.Messages))
	positive(p, "webhook.outbox.bytes", int64(w.Outbox.Bytes))
	positive(p, "webhook.outbox.redis", int64(w.Outbox.Redis))
	positive(p, "webhook.dead_letters.messages", int64(w.DeadLetters.Messages))
	duration(p, "webhook.dead_letters.age", w.DeadLetters.Age)
	duration(p, "webhook.retry.min", w.Retry.Min)
	duration(p, "webhook.retry.give_up_after", w.Retry.GiveUpAfter)
	if w.Retry.Max < w.Retry.Min {
		p.add("webhook.retry.max", "%v is less than min (%v)", w.Retry.Max, w.Retry.Min)
	}
	checkDelivery(p, &w)
	switch w.OnError.Connect {
	case Deny:
	case Allow:
		if !c.Auth.Anonymous {
			p.add("webhook.on_error.connect", "allow lets anybody in while the backend is down; it needs auth.anonymous: true")
		}
	default:
		oneOf(p, "webhook.on_error.connect", w.OnError.Connect, Deny, Allow)
	}
	oneOf(p, "webhook.on_error.subscribe", w.OnError.Subscribe, Deny, Allow)
	oneOf(p, "webhook.on_error.publish", w.OnError.Publish, Deny, Allow)
}

// checkWebhookUse is what a webhook that is on needs.
func (c *Config) checkWebhookUse(p *Problems) {
	w := c.Webhook
	if len(w.Secrets) == 0 && !w.Unsigned {
		p.add("webhook.secrets", "is required with webhook.url; or set webhook.unsigned: true where nobody else reaches the backend")
	}
	if len(w.Events) == 0 {
		p.add("webhook.events", `is required with webhook.url, like [connect, message] or ["*"]`)
	}
	if strings.ContainsAny(strings.ReplaceAll(w.URL, "{event}", ""), "{}") {
		p.add("webhook.url", "has braces; only {event} is replaced")
	}
	if w.PublicPath {
		return
	}
	if strings.Contains(w.URL, "?") {
		p.add("webhook.url", "has a query, which no wall can protect; set webhook.public_path: true to allow it")
	}
	if c.Webhook.Wall() == "/" {
		p.add("webhook.url", "would close the whole public listener; give it a path of its own, or set webhook.public_path: true")
	}
}

// maxBatch bounds webhook.batch.events, as a batch is one request.
const maxBatch = 1000

// checkDelivery is the form of what is sent, and when nobody is asked.
func checkDelivery(p *Problems, w *Webhook) {
	oneOf(p, "webhook.format", w.Format, FormatBinary, FormatStructured)
	if n := w.Batch.Events; n < 1 || n > maxBatch {
		p.add("webhook.batch.events", "want 1 (no batches) to %d, got %d", maxBatch, n)
	}
	notNegative(p, "webhook.batch.wait", float64(w.Batch.Wait))
	notNegative(p, "webhook.breaker.failures", float64(w.Breaker.Failures))
	if w.Breaker.Failures > 0 {
		duration(p, "webhook.breaker.pause", w.Breaker.Pause)
	}
}
