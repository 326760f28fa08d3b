package session

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pushcart/pushcart/internal/apierror"
)

// Refusal is the answer to a refused handshake. Transports write it, as plain HTTP if
// they can.
type Refusal struct {
	// Result names it in metrics. ResultLeft: nobody is there to read it.
	Result string
	// Status, ContentType and Body are the answer.
	Status      int
	ContentType string
	Body        []byte
	// RetryAfter is in seconds, 0 for none.
	RetryAfter int
	// SetCookie are lines for the client.
	SetCookie []string
	// Asked is how long the backend took to say who it is.
	Asked time.Duration

	// For the log; nothing of it may be a token's or a payload's value.
	cause  string // why, in one of a bounded set of sentences
	detail string // what cause leaves out
	key    string // of the configuration, to look at
}

// Refuse returns a refusal in the form of SPEC §6.3.
func Refuse(result string, code apierror.Code, message string) *Refusal {
	return &Refusal{
		Result: result, Status: code.Status(), ContentType: contentJSON,
		Body: apierror.New(code, message).AsJSON(), cause: message,
	}
}

// look names the configuration keys that decide.
func (r *Refusal) look(keys string) *Refusal {
	r.key = keys
	return r
}

// Because adds a cause for the log.
func (r *Refusal) Because(err error) *Refusal {
	r.detail = err.Error()
	return r
}

// perhapsTheApps tells those who find the sidecar where the app's own WebSocket
// was.
func (r *Refusal) perhapsTheApps() *Refusal {
	const hint = "; if this path is a WebSocket of the app, take it out of websocket.paths"
	r.key = strings.TrimPrefix(r.key+", websocket.paths", ", ")
	if r.Status == http.StatusUnauthorized {
		r.Body = apierror.New(apierror.Unauthenticated, r.cause+hint).AsJSON()
	}
	return r
}

// Refused counts a refusal and logs it, once per cause and minute (SPEC §11
// Process). The end of the process is expected and not worth a line.
func (e *Engine) Refused(h *Handshake, r *Refusal) {
	e.metrics.Connects.WithLabelValues(r.Result).Inc()
	if r.Result == "draining" || r.Result == ResultLeft {
		return
	}
	reason, args := r.cause, []any{"path", string(h.Head.Path), "status", r.Status}
	if r.detail != "" {
		reason += ": " + r.detail
	}
	args = append(args, "reason", reason, "ip", h.From.IP.String())
	if r.key != "" {
		args = append(args, "setting", r.key)
	}
	e.rare.Warn("refused: "+r.cause, "handshake refused", args...)
}

// after adds Retry-After.
func (r *Refusal) after(seconds int) *Refusal {
	r.RetryAfter = seconds
	return r
}

// ResultLeft is a handshake whose client has left.
const ResultLeft = "left"

// quote is a client's value for messages.
func quote(s string) string { return strconv.Quote(s[:min(len(s), 256)]) }
