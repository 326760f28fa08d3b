package hub

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/metrics"
)

// Results of pushes in metrics.
const (
	resultOK          = "ok"
	resultDuplicate   = "duplicate"
	resultInvalid     = "invalid"
	resultConflict    = "conflict"
	resultUnavailable = "unavailable"
)

// pushCounters are the counters of Metrics.Pushes, looked up once.
type pushCounters map[[2]string]prometheus.Counter

func newPushCounters(m *metrics.Metrics) pushCounters {
	c := pushCounters{}
	for _, target := range []string{targetUser, targetChannel, targetConnection, targetAll, targetMixed, targetNone} {
		for _, result := range []string{resultOK, resultDuplicate, resultInvalid, resultConflict, resultUnavailable} {
			c[[2]string{target, result}] = m.Pushes.WithLabelValues(target, result)
		}
	}
	return c
}

func (c pushCounters) count(target string, o *Published) {
	result := resultOK
	switch {
	case o.Err != nil && o.Err.Code == apierror.Conflict:
		result = resultConflict
	case o.Err != nil:
		result = resultUnavailable
	case o.Duplicate:
		result = resultDuplicate
	}
	c[[2]string{target, result}].Inc()
}

// CountRefused counts a push that an API refused before it checked the targets.
func (h *Hub) CountRefused() { h.pushes[[2]string{targetNone, resultInvalid}].Inc() }
