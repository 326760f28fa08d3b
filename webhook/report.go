package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// errExpired is why a message is answered that could not be sent in its time.
var errExpired = errors.New("webhook: timed out before it could be sent")

// report logs an attempt that was not what the event wants, at most once per cause
// and minute.
func (d *Dispatcher) report(j *job, v *verdict) {
	status := v.answer.Status
	if status/100 == 2 || v.result == "left" { // cutShort says what was wrong with it, if anything
		if j.event.Name == Message && !d.taken.Load() {
			d.taken.Store(true)
		}
		return
	}
	told := j.done == nil
	overloaded := j.event.Name == Message && v.again
	if !told && v.result == "rejected" && !misdirected(j.event.Name, status) && !overloaded && d.answersClient(j, status) {
		return
	}
	args := []any{"event", j.name()}
	cause := v.result
	if status != 0 {
		cause = strconv.Itoa(status)
		args = append(args, "status", status)
	}
	reason, setting := explain(j.set, v)
	if len(j.with) > 0 && final(status) {
		reason, setting = "the backend does not take batches, or not one of these events", "webhook.batch, "+setting
	}
	args = append(args, "reason", reason, "setting", setting)
	message := "webhook failed"
	switch {
	case len(j.with) > 0 && final(status):
		message = "webhook batch refused: each of its events is sent by itself"
	case told && final(status):
		message = "webhook refused for good: the event is not sent again"
		if d.letters != nil {
			message += "; pushcart outbox list --state dead shows it"
		}
	case told:
		message = "webhook failed: the event is sent again later"
	}
	d.rare.Warn("webhook "+j.name()+" "+cause, message, args...)
}

// answersClient says whether a 4xx is the app's own answer to this client. While no
// message was ever taken, it rather comes from what stands before the app's route: a
// CSRF check or a list of hosts answers 400, 419 and 422 too. A refused connect is
// logged with its handshake.
func (d *Dispatcher) answersClient(j *job, status int) bool {
	return j.event.Name == Connect || d.taken.Load() || status == http.StatusGone
}

// misdirected says whether a 4xx rather means that the webhook is not where it is
// thought to be, or does not accept the signature. To connect, 401 and 403 are what
// strangers get.
func misdirected(event string, status int) bool {
	switch status {
	case 401, 403:
		return event != Connect
	case 404, 405:
		return true
	}
	return false
}

// explain says what a failure probably comes from, and which settings to look at.
func explain(set *Settings, v *verdict) (reason, setting string) {
	status := v.answer.Status
	switch {
	case v.result == "timeout":
		return "no answer within " + set.timeout.String(), "webhook.timeout"
	case status == 0:
		if set.to != nil && set.to.OfBackend {
			return cause(v.err), "webhook.url, backend.url"
		}
		return cause(v.err), "webhook.url"
	case status == 401:
		return "the backend refuses the signature", "webhook.secrets"
	case status == 403:
		return "the backend refuses the signature, or its route has a CSRF check", "webhook.secrets"
	case status == 404, status == 405:
		return "the backend has no such route", "webhook.url, webhook.events"
	case status == 408, status == 429:
		return "the backend is overloaded", "webhook.max_in_flight"
	case status/100 == 3:
		reason = "redirects are not followed"
		if v.leads != "" {
			reason += "; it leads to " + v.leads
		}
		return reason, "webhook.url"
	case status == 400, status == 419, status == 421, status == 422:
		return "the backend does not take this event; perhaps a CSRF check, or the Host", "webhook.events, webhook.host"
	case final(status):
		return "the backend does not take this event", "webhook.events"
	case status/100 == 4:
		return "the backend refuses it", "webhook.url"
	}
	return "the backend failed", "webhook.url"
}

// cause is an error without the sentinel that it wraps.
func cause(err error) string {
	var both interface{ Unwrap() []error }
	if errors.As(err, &both) {
		if all := both.Unwrap(); len(all) == 2 && errors.Is(all[0], ErrUnavailable) {
			err = all[1]
		}
	}
	return err.Error()
}

// expired answers a message whose time was up while it waited.
func (d *Dispatcher) expired(j *job) {
	d.metrics.Webhooks.WithLabelValues(j.event.Name, "expired").Inc()
	d.rare.Warn("webhook "+j.event.Name+" expired", "webhook failed", "event", j.event.Name,
		"reason", fmt.Sprintf("not sent within %d times webhook.timeout", messageTries),
		"setting", "webhook.max_in_flight, webhook.timeout")
	j.done(Answer{}, fmt.Errorf("%w: %w", ErrUnavailable, errExpired))
}

// lost counts and logs a told event that nobody tells any more; why is nil where the log
// has it already.
func (d *Dispatcher) lost(j *job, why *loss) {
	if kept := j.event.Kept; kept != nil && kept.Lost() {
		return
	}
	d.metrics.Webhooks.WithLabelValues(j.event.Name, "lost").Inc()
	if why == nil {
		return
	}
	d.rare.Error("webhook "+j.event.Name+" lost "+why.setting, "webhook events lost",
		"event", j.event.Name, "reason", why.reason, "setting", why.setting)
}

// loss is why a told event is given up.
type loss struct{ reason, setting string }

var (
	lostOutboxFull = &loss{"too many wait", "webhook.outbox"}
	lostNoWebhook  = &loss{errNoWebhook.Error(), "webhook.url"}
	lostAtTheEnd   = &loss{"not delivered before the process ended", "webhook.timeout"}
	lostAfterEnd   = &loss{"told after the end", "shutdown.drain"}
)

func (d *Dispatcher) stateIgnored(event string, err error) {
	d.rare.Warn("webhook "+event+" state", "state ignored", "event", event, "reason", err.Error())
}
