package metrics

import "slices"

// What labels can say. All of it is served from the start: rate() sees no step from
// nothing to one, so an alert would miss what happens for the first time.
var (
	connectResults = []string{
		"ok", "bad_request", "draining", "limit", "rate", "origin", "unauthenticated", "forbidden", "rejected", "error", "left",
	}
	disconnectCauses = []string{"client", "backend", "timeout", "slow", "drain", "error", "node_lost"}
	// webhookResults are those of any webhook, webhookEvents have more of their own.
	webhookResults = []string{"ok", "rejected", "timeout", "unreachable", "error"}
	told           = []string{"dead", "lost"}
	webhookEvents  = map[string][]string{
		"connect": {"left", "breaker"}, "message": {"expired", "breaker"}, "subscribe": {"expired", "breaker"}, "publish": {"expired", "breaker"},
		"connected": told, "disconnected": told, "user.online": told, "user.offline": told,
		"channel.occupied": told, "channel.vacated": told, "presence.join": told, "presence.leave": told, "batch": nil,
	}
	requests       = []string{"subscribe", "recover", "publish", "message", "history", "presence", "refresh"}
	requestResults = []string{
		"ok", "invalid_argument", "rejected", "unauthenticated", "forbidden", "not_found", "conflict", "too_large", "rate_limited", "internal", "unavailable",
	}
	reloadResults = []string{"ok", "invalid", "refused"}
	// ownCodes are those with which the node answers for the backend. Others come with
	// the first response.
	ownCodes = []string{"502", "503", "504"}
)

// preset makes the series of all labels that are known.
func (m *Metrics) preset() {
	for _, result := range connectResults {
		m.Connects.WithLabelValues(result)
	}
	for _, cause := range disconnectCauses {
		m.Disconnects.WithLabelValues(cause)
	}
	for event, own := range webhookEvents {
		for _, result := range slices.Concat(webhookResults, own) {
			m.Webhooks.WithLabelValues(event, result)
		}
		m.WebhookSeconds.WithLabelValues(event)
	}
	for _, request := range requests {
		for _, result := range requestResults {
			m.ClientRequests.WithLabelValues(request, result)
		}
	}
	m.ClientRequests.WithLabelValues("malformed", "invalid_argument")
	for _, result := range reloadResults {
		m.Reloads.WithLabelValues(result)
	}
	for _, code := range ownCodes {
		m.Requests.WithLabelValues(code)
	}
}
