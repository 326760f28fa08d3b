package metrics

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics holds every metric of a process (SPEC §10).
type Metrics struct {
	registry *prometheus.Registry

	// Connects counts handshakes by result: ok, bad_request, draining, limit,
	// rate, origin, unauthenticated, forbidden, rejected, error, left.
	Connects *prometheus.CounterVec
	// Disconnects counts ended connections by cause (SPEC §5 disconnected).
	Disconnects *prometheus.CounterVec
	// SlowConsumers counts connections closed because their outbox was full.
	SlowConsumers prometheus.Counter

	// ClientRequests counts requests of pushcart.json.v1 clients by kind (subscribe, …;
	// malformed) and result (ok, or the code of the error).
	ClientRequests *prometheus.CounterVec

	// Pushes counts pushes by target (user, channel, connection, all, mixed) and
	// result (ok, duplicate, invalid, conflict, unavailable).
	Pushes *prometheus.CounterVec
	// PushToWrite is the time from a push being accepted to its frame being
	// written on a node, over nodes; one observation per push and node.
	PushToWrite prometheus.Histogram
	// FanoutDropped counts messages from other nodes that found the delivery
	// queue full.
	FanoutDropped prometheus.Counter

	// Webhooks counts finished webhook requests by event and result (ok,
	// rejected, timeout, unreachable, error, left, breaker, expired, dead, lost).
	Webhooks *prometheus.CounterVec
	// OutboxLost counts notifications and dead letters that found no room in Redis.
	OutboxLost prometheus.Counter
	// WebhookBreaker is 1 for an event that the backend is not asked about at the
	// moment, as it did not answer.
	WebhookBreaker *prometheus.GaugeVec
	// WebhookSeconds is the duration of one webhook attempt by event.
	WebhookSeconds *prometheus.HistogramVec

	// Recovered counts messages that were handed to connections that came back, Gaps
	// how often one was told that messages are lost.
	Recovered, Gaps prometheus.Counter
	// Panics counts panics, each of which ended a connection or a request.
	Panics prometheus.Counter

	// Reloads counts attempts to read the configuration again by result: ok,
	// invalid, refused.
	Reloads *prometheus.CounterVec
	// ReloadOK is 1 while the last of them, or the start, went well.
	ReloadOK prometheus.Gauge
	// ReloadTime is when the configuration that counts was read.
	ReloadTime prometheus.Gauge

	// Requests counts pass-through responses by status code.
	Requests *prometheus.CounterVec
	// RequestSeconds is the time from a request's head to its response head.
	RequestSeconds prometheus.Histogram

	// RedisUp is 1 while Redis delivers and takes writes; absent in memory.
	RedisUp prometheus.Gauge
}

// New returns the metrics of one process.
func New(version, commit string) *Metrics {
	r := prometheus.NewRegistry()
	m := &Metrics{
		registry:      r,
		Connects:      counterVec("pushcart_connects_total", "Handshakes by result.", "result"),
		Disconnects:   counterVec("pushcart_disconnects_total", "Ended connections by cause.", "cause"),
		SlowConsumers: counter("pushcart_slow_consumers_total", "Connections closed because their outbox was full."),
		ClientRequests: counterVec("pushcart_client_requests_total",
			"Requests of pushcart.json.v1 clients by kind and result.", "request", "result"),
		Pushes: counterVec("pushcart_pushes_total", "Pushes by target and result.", "target", "result"),
		PushToWrite: histogram("pushcart_push_to_write_seconds",
			"Time from a push being accepted to its frame being written, over nodes.", fastBuckets),
		FanoutDropped: counter("pushcart_fanout_dropped_total", "Messages that found the delivery queue full."),
		Recovered:     counter("pushcart_recovered_messages_total", "Kept messages handed to connections that came back."),
		OutboxLost:    counter("pushcart_webhook_outbox_redis_lost_total", "Notifications and dead letters that found no room in Redis."),
		Gaps:          counter("pushcart_gaps_total", "Gaps reported to connections: messages were lost."),
		Webhooks:      counterVec("pushcart_webhooks_total", "Webhook requests by event and result.", "event", "result"),
		WebhookSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pushcart_webhook_seconds", Help: "Duration of one webhook attempt.", Buckets: slowBuckets,
		}, []string{"event"}),
		WebhookBreaker: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pushcart_webhook_breaker", Help: "1 while the backend is not asked because it did not answer.",
		}, []string{"event"}),
		Panics:   counter("pushcart_panics_total", "Panics; each ended a connection or a request."),
		Reloads:  counterVec("pushcart_config_reloads_total", "Attempts to read the configuration again, by result.", "result"),
		ReloadOK: gauge("pushcart_config_last_reload_successful", "1 while the last reload of the configuration, or the start, went well."),
		ReloadTime: gauge("pushcart_config_last_reload_success_timestamp_seconds",
			"When the configuration in force was read."),
		Requests: counterVec("pushcart_requests_total", "Pass-through responses by status code.", "code"),
		RequestSeconds: histogram("pushcart_request_seconds",
			"Time from a request's head to its response head.", slowBuckets),
		RedisUp: gauge("pushcart_redis_up", "1 while Redis delivers and takes writes."),
	}
	m.ReloadOK.Set(1)
	m.ReloadTime.SetToCurrentTime()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pushcart_build_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit, "go": runtime.Version()},
	})
	info.Set(1)
	r.MustRegister(m.Connects, m.Disconnects, m.SlowConsumers, m.ClientRequests, m.Pushes, m.PushToWrite, m.FanoutDropped, m.Recovered, m.Gaps,
		m.Webhooks, m.WebhookSeconds, m.WebhookBreaker, m.OutboxLost, m.Panics, m.Reloads, m.ReloadOK, m.ReloadTime, m.Requests, m.RequestSeconds, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.preset()
	return m
}

var (
	fastBuckets = []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5}
	slowBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
)

// Gauge shows a value that some package knows, read at each scrape.
func (m *Metrics) Gauge(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

// Counter shows a count that some package keeps itself, because it does so on a
// hot path; read at each scrape.
func (m *Metrics) Counter(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value))
}

// ShowRedis registers RedisUp; called only where Redis is configured.
func (m *Metrics) ShowRedis() { m.registry.MustRegister(m.RedisUp) }

// Handler serves the metrics as Prometheus text.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

func counterVec(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
}
