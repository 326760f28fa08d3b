package auth

import "errors"

// Errors of Token and Forward; match with errors.Is. The error itself is a
// *Refusal, which says more, without ever quoting a token.
var (
	// ErrUnauthenticated: the credentials are missing or bad (401).
	ErrUnauthenticated = errors.New("auth: unauthenticated")
	// ErrForbidden: the endpoint answered 403.
	ErrForbidden = errors.New("auth: forbidden")
	// ErrUnavailable: keys or endpoint cannot be reached (503).
	ErrUnavailable = errors.New("auth: unavailable")
)

// Refusal is an error of Token or Forward.
type Refusal struct {
	// Reason may be told to the client. It is one of a bounded set.
	Reason string
	// Detail goes on where Reason stops, for the log only; "" for nothing.
	Detail string
	// Key is the configuration key to look at.
	Key string

	kind error // one of the sentinels
}

// Error implements error.
func (r *Refusal) Error() string {
	s := r.kind.Error() + ": " + r.Reason
	if r.Detail != "" {
		s += ": " + r.Detail
	}
	return s
}

// Unwrap returns the sentinel.
func (r *Refusal) Unwrap() error { return r.kind }

func unauthenticated(key, reason string) error {
	return &Refusal{kind: ErrUnauthenticated, Key: key, Reason: reason}
}

func unavailable(key, reason string) error {
	return &Refusal{kind: ErrUnavailable, Key: key, Reason: reason}
}
