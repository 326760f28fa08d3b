package webhook

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/names"
)

// maxState bounds a connection's state (SPEC §5).
const maxState = 2 << 10

// verdict is what an attempt came to.
type verdict struct {
	answer  Answer
	result  string // of the metric
	again   bool   // a further attempt makes sense
	timeout bool
	after   time.Duration // Retry-After, -1: none
	err     error
}

// attempt sends the event once.
func (d *Dispatcher) attempt(j *job) verdict {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	begin := time.Now()
	d.encode(req, j, begin)
	err := d.client.Do(req, resp)
	d.metrics.WebhookSeconds.WithLabelValues(j.event.Name).Observe(time.Since(begin).Seconds())
	if err != nil {
		return failed(err)
	}
	return d.judge(j, resp)
}

func failed(err error) verdict {
	v := verdict{result: "unreachable", again: true, after: -1, err: fmt.Errorf("%w: %w", ErrUnavailable, err)}
	var netErr net.Error
	switch {
	case errors.Is(err, fasthttp.ErrTimeout), errors.Is(err, fasthttp.ErrDialTimeout),
		errors.As(err, &netErr) && netErr.Timeout():
		v.result, v.timeout = "timeout", true
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		v.result, v.again = "error", false
	}
	return v
}

// judge reads the backend's answer.
func (d *Dispatcher) judge(j *job, resp *fasthttp.Response) verdict {
	status := resp.StatusCode()
	v := verdict{after: -1}
	switch {
	case status/100 == 2 || status/100 == 4 && status != 408 && status != 429:
		v.result = "ok"
		if status/100 == 4 {
			v.result = "rejected"
		}
		v.answer = Answer{
			Status:      status,
			ContentType: string(resp.Header.ContentType()),
			Body:        bytes.Clone(resp.Body()),
			State:       d.state(j, resp.Header.Peek("ce-state")),
		}
		if len(resp.Header.Peek("Content-Type")) == 0 {
			v.answer.ContentType = ""
		}
		return v
	case status == 408 || status == 429 || status == 502 || status == 503 || status == 504:
		v.again = true
		if status == 429 || status == 503 {
			v.after = retryAfter(string(resp.Header.Peek("Retry-After")), time.Now())
		}
	}
	v.result = "error"
	v.err = fmt.Errorf("%w: status %d", ErrUnavailable, status)
	v.answer.Status = status
	return v
}

// state decodes ce-state; what cannot be used is ignored.
func (d *Dispatcher) state(j *job, header []byte) []byte {
	if len(header) == 0 {
		return nil
	}
	state, err := decodeState(header)
	if err != nil {
		d.log.Warn("state ignored", "conn", j.event.ConnectionID, "err", err)
		return nil
	}
	return state
}

func decodeState(header []byte) ([]byte, error) {
	state, err := base64.StdEncoding.DecodeString(string(header))
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

// retryAfter reads the header in both its forms (RFC 9110 §10.2.3); -1: none.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := time.Parse(time.RFC1123, v); err == nil {
		return max(0, t.Sub(now))
	}
	return -1
}

// ParseConnectAnswer reads the body of a 200 to connect. State that is too large
// is left out; anything else that is wrong wraps ErrUnavailable.
func (d *Dispatcher) ParseConnectAnswer(a Answer) (ConnectAnswer, error) {
	c, err := parseConnectAnswer(a.Body)
	if err != nil {
		return ConnectAnswer{}, fmt.Errorf("%w: connect answer: %w", ErrUnavailable, err)
	}
	if len(c.State) > maxState {
		d.log.Warn("state ignored", "err", errors.New("state in the connect answer is larger than 2 KiB"))
		c.State = nil
	}
	return c, nil
}

func parseConnectAnswer(body []byte) (c ConnectAnswer, err error) {
	if err := json.Unmarshal(body, &c); err != nil {
		return ConnectAnswer{}, err
	}
	if c.UserID != nil && *c.UserID != "" {
		if err := names.CheckUser(*c.UserID); err != nil {
			return ConnectAnswer{}, fmt.Errorf("user_id %w", err)
		}
	}
	for i, ch := range c.Channels {
		if err := names.CheckUser(ch); err != nil { // patterns are grants
			return ConnectAnswer{}, fmt.Errorf("channels[%d] %w", i, err)
		}
	}
	if string(c.State) == "null" {
		c.State = nil
	}
	return c, nil
}
