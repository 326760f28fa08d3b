package webhook

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/httpclient"
	"github.com/pushcart/pushcart/internal/strictjson"
)

// maxState bounds a connection's state (SPEC §5).
const maxState = 2 << 10

// maxLoggedPath is how much of a path is logged.
const maxLoggedPath = 200

// verdict is what an attempt came to.
type verdict struct {
	answer Answer
	result string        // of the metric
	again  bool          // a message may be sent again
	after  time.Duration // Retry-After, -1: none
	err    error         // wraps ErrUnavailable
	leads  string        // the path that a redirect names
}

// attempt sends the event once.
func (d *Dispatcher) attempt(j *job) verdict {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	set, begin := j.set, time.Now()
	if set.to == nil { // the webhook was taken away meanwhile
		return failed(errNoWebhook)
	}
	timeout := set.timeout
	if j.done != nil { // its tries together have an end
		timeout = min(timeout, j.deadline.Sub(begin))
	}
	d.encode(req, j, begin)
	timeout = max(timeout, time.Millisecond)
	var err error
	if j.wanted != nil {
		err = set.client.DoWhile(j.wanted, req, resp, timeout)
	} else {
		err = set.client.Do(req, resp, timeout)
	}
	d.metrics.WebhookSeconds.WithLabelValues(j.name()).Observe(time.Since(begin).Seconds())
	tooLarge := errors.Is(err, httpclient.ErrBodyTooLarge)
	if err != nil && j.wanted != nil && j.wanted.Err() == context.Canceled {
		return verdict{result: "left", after: -1, err: fmt.Errorf("%w: %w", ErrUnavailable, context.Canceled)}
	}
	if err != nil && !tooLarge {
		return failed(err)
	}
	return d.judge(j, resp, tooLarge)
}

var errNoWebhook = errors.New("there is no webhook any more")

// failed is an attempt without an answer. A message is sent again where the
// backend cannot have acted on it, and where it closed the connection before the
// first byte of an answer: that is what a gateway before it would call 502, and
// its id tells the backend. After a timeout or half an answer it is not.
func failed(err error) verdict {
	v := verdict{result: "error", after: -1, err: fmt.Errorf("%w: %w", ErrUnavailable, err)}
	switch {
	case errors.Is(err, httpclient.ErrNoConnection), errors.Is(err, httpclient.ErrClosed):
		v.result, v.again = "unreachable", true
	case errors.Is(err, httpclient.ErrTimeout):
		v.result = "timeout"
	}
	return v
}

// judge reads the backend's answer; of one that is too large it has the head.
func (d *Dispatcher) judge(j *job, resp *fasthttp.Response, tooLarge bool) verdict {
	status := resp.StatusCode()
	v := verdict{after: -1, answer: Answer{Status: status}}
	switch status {
	case 408, 429, 502, 503, 504:
		v.again = true
		if status == 429 || status == 503 {
			v.after = retryAfter(string(resp.Header.Peek("Retry-After")), time.Now())
		}
	}
	switch status / 100 {
	case 2:
		v.result = "ok"
	case 4:
		v.result = "rejected"
	default:
		v.result = "error"
		v.err = fmt.Errorf("%w: status %d", ErrUnavailable, status)
		if status/100 == 3 {
			v.leads = leads(resp.Header.Peek("Location"))
		}
		return v
	}
	switch {
	case j.done == nil: // the body says nothing
	case tooLarge:
		d.cutShort(j, &v)
	case encoded(resp):
		d.unreadable(j, &v, string(resp.Header.ContentEncoding()))
	default:
		resp.Header.SetNoDefaultContentType(true)
		v.answer.ContentType = string(resp.Header.ContentType())
		v.answer.Body = bytes.Clone(resp.Body())
		v.answer.State = d.state(j, resp.Header.Peek("ce-state"))
	}
	return v
}

// leads is the path of a Location: what follows it may be secret.
func leads(location []byte) string {
	u, err := url.Parse(string(location))
	if err != nil {
		return ""
	}
	path := u.EscapedPath()
	return path[:min(len(path), maxLoggedPath)]
}

// cutShort is an answer over webhook.max_answer: a refusal stays one, without its
// body; anything else counts as an error.
func (d *Dispatcher) cutShort(j *job, v *verdict) {
	d.rare.Warn("max_answer "+j.event.Name, "webhook answer is too large",
		"event", j.event.Name, "status", v.answer.Status, "max_answer", j.set.maxAnswer.String(), "setting", "webhook.max_answer")
	if v.answer.Status/100 == 2 {
		v.result = "error"
		v.err = fmt.Errorf("%w: the answer is larger than webhook.max_answer", ErrUnavailable)
	}
}

// encoded says that the body is compressed, which was not asked for.
func encoded(resp *fasthttp.Response) bool {
	encoding := resp.Header.ContentEncoding()
	return len(encoding) > 0 && !strings.EqualFold(string(encoding), "identity") && len(resp.Body()) > 0
}

// unreadable is a compressed answer: as one that is too large.
func (d *Dispatcher) unreadable(j *job, v *verdict, encoding string) {
	d.rare.Warn("encoding "+j.event.Name, "webhook answer is compressed, although pushcart did not ask for that: disable the app's compression for the webhook's route",
		"event", j.event.Name, "status", v.answer.Status, "encoding", encoding[:min(len(encoding), maxLoggedPath)], "setting", "webhook.url")
	if v.answer.Status/100 == 2 {
		v.result = "error"
		v.err = fmt.Errorf("%w: the answer is compressed", ErrUnavailable)
	}
}

// state decodes ce-state; what cannot be used is ignored.
func (d *Dispatcher) state(j *job, header []byte) []byte {
	if len(header) == 0 {
		return nil
	}
	state, err := decodeState(header)
	if err != nil {
		d.stateIgnored(j.event.Name, err)
		return nil
	}
	return state
}

func decodeState(header []byte) ([]byte, error) {
	state, err := base64.StdEncoding.DecodeString(string(header))
	state = strictjson.TrimBOM(state)
	switch {
	case err != nil:
		return nil, errors.New("ce-state is not base64")
	case len(state) > maxState:
		return nil, errors.New("ce-state is larger than 2 KiB")
	case !json.Valid(state):
		return nil, errors.New("ce-state is not JSON")
	}
	return state, nil
}

// retryAfter reads the header in both its forms (RFC 9110 §10.2.3); -1: none. A
// number that does not fit is a very long time.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	if v != "" && strings.Trim(v, "0123456789") == "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n > int64(farAway/time.Second) {
			return farAway
		}
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(0, t.Sub(now)), farAway)
	}
	return -1
}

// farAway is longer than anything waits.
const farAway = 10 * 365 * 24 * time.Hour

// ParseConnectAnswer reads the body of a 200 to connect. A state that is too large is
// dropped; any other mistake is an error that wraps ErrUnavailable.
func (d *Dispatcher) ParseConnectAnswer(a Answer) (ConnectAnswer, error) {
	c, err := parseConnectAnswer(a.Body)
	if err != nil {
		return ConnectAnswer{}, fmt.Errorf("%w: connect answer: %w", ErrUnavailable, err)
	}
	if c.unknown != "" { // userId for user_id lets everybody in without a name
		d.rare.Warn("connect answer field", "the answer to connect has an unknown field, which is ignored",
			"field", c.unknown[:min(len(c.unknown), maxLoggedPath)], "known", "user_id, channels, info, state, expires_at, subprotocol, messages")
	}
	if len(c.State) > maxState {
		d.stateIgnored(Connect, errors.New("state is larger than 2 KiB"))
		c.State = nil
	}
	return c, nil
}
