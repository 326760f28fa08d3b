package auth

import (
	"encoding/json"
	"errors"
	"time"
)

// Handshake is what of a request auth may look at.
type Handshake struct {
	// Header returns a header's first value, "" if absent.
	Header func(name string) string
	// Query is the raw query string.
	Query string
	// Protocols are the offered Sec-WebSocket-Protocol names.
	Protocols []string
}

// Identity is who is behind a connection.
type Identity struct {
	// User is the user_id, valid by SPEC §11 Names; "" if the method named none.
	User string
	// Channels are the names and patterns that the token grants.
	Channels []string
	// ExpiresAt is exp plus leeway; zero if the token has none.
	ExpiresAt time.Time
	// Claims is the token's payload, for the connect webhook; nil without one.
	Claims json.RawMessage
}

// Errors of Token and Forward; match with errors.Is. What wraps them says more,
// without ever quoting a token.
var (
	// ErrUnauthenticated: the credentials are missing or bad (401).
	ErrUnauthenticated = errors.New("auth: unauthenticated")
	// ErrForbidden: the endpoint answered 403.
	ErrForbidden = errors.New("auth: forbidden")
	// ErrUnavailable: keys or endpoint cannot be reached (503).
	ErrUnavailable = errors.New("auth: unavailable")
)
