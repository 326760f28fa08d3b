package auth

import (
	"context"
	"encoding/json"
	"log/slog"
	"runtime"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/clientaddr"
)

// Handshake is what of a request auth may look at.
type Handshake struct {
	// Lines returns a header's values, one for each of its lines.
	Lines func(name string) []string
	// Query is the raw query string.
	Query string
	// Protocols are the offered Sec-WebSocket-Protocol names.
	Protocols []string
	// Host is the Host header, URI the raw path with its query.
	Host, URI string
	// From is where the request came from, for X-Forwarded-*.
	From clientaddr.Origin
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
	// SetCookie are the Set-Cookie lines of Forward's answer. They are for the
	// client whether it is let in or not, and come with an error too.
	SetCookie []string
}

// Authenticator verifies credentials by the ways in that are configured. It does not
// change: for other settings there is another one, see Renew.
type Authenticator struct {
	log      *slog.Logger
	jwt      config.JWT
	keys     *keys
	cache    *tokenCache
	working  chan struct{} // bounds the verifications under way: a storm must leave CPU to others
	forward  *forwarder
	forwards int // of LimitForwards; 0: it was not called
}

// New reads the keys. A JWKS that cannot be fetched is no error: it is tried
// again. A forward URL that is a path alone is asked at backend. Close ends what New
// started.
func New(cfg config.Auth, backend config.Backend, log *slog.Logger) (*Authenticator, error) {
	return build(cfg, backend, log, nil)
}

// Renew returns an Authenticator for other settings, in which no token is known yet.
// Key sets that come from where they came from before are there at once. a stays
// as it is until Retire.
func (a *Authenticator) Renew(cfg config.Auth, backend config.Backend) (*Authenticator, error) {
	next, err := build(cfg, backend, a.log, a)
	if err == nil && a.forwards > 0 {
		next.LimitForwards(a.forwards)
	}
	return next, err
}

// build makes an Authenticator; old, if not nil, is the one before.
func build(cfg config.Auth, backend config.Backend, log *slog.Logger, old *Authenticator) (*Authenticator, error) {
	a := &Authenticator{
		log: log, jwt: cfg.JWT, cache: newTokenCache(), working: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	if old != nil {
		a.working = old.working
	}
	if cfg.JWT.Enabled() {
		var known *keySet
		if old != nil && old.keys != nil && old.jwt.JWKSURL == cfg.JWT.JWKSURL {
			known = old.keys.set()
		}
		k, err := newKeys(cfg.JWT, log, known, a.cache.empty)
		if err != nil {
			return nil, err
		}
		a.keys = k
	}
	if cfg.Forward.URL != "" {
		f, err := newForwarder(cfg.Forward, backend, log)
		if err != nil {
			a.Close()
			return nil, err
		}
		a.forward = f
	}
	return a, nil
}

// HasJWT says whether tokens are verified.
func (a *Authenticator) HasJWT() bool { return a.keys != nil }

// HasForward says whether an endpoint is asked.
func (a *Authenticator) HasForward() bool { return a.forward != nil }

// LimitForwards makes n of MaxForwards. It must be called before the first Forward.
func (a *Authenticator) LimitForwards(n int) {
	a.forwards = n
	if a.forward != nil {
		a.forward.client.Limit(n)
	}
}

// Retire stops the refreshing of keys, for one that no new handshake uses. Those under
// way go on: tokens are verified with the keys that are there, and Forward is answered.
func (a *Authenticator) Retire() {
	if a.keys != nil {
		a.keys.close()
	}
	if a.forward != nil {
		a.forward.client.CloseIdle()
	}
}

// Close stops the refreshing of keys and the requests of Forward.
func (a *Authenticator) Close() {
	if a.keys != nil {
		a.keys.close()
	}
	if a.forward != nil {
		a.forward.close()
	}
}

// Token verifies a token, which must name a user. Its error wraps ErrUnauthenticated or
// ErrUnavailable.
func (a *Authenticator) Token(ctx context.Context, token string) (Identity, error) {
	return a.token(ctx, token, false)
}

// Grant verifies a token like Token; without a user it is good for everybody.
func (a *Authenticator) Grant(ctx context.Context, token string) (Identity, error) {
	return a.token(ctx, token, true)
}

func (a *Authenticator) token(ctx context.Context, token string, anybody bool) (Identity, error) {
	if a.cache.has(token) {
		if payload, ok := payloadOf(token); ok {
			return a.claims(payload, time.Now(), anybody)
		}
	}
	return a.verify(ctx, token, anybody)
}

// Forward asks the endpoint. Its error wraps ErrUnauthenticated, ErrForbidden or
// ErrUnavailable.
func (a *Authenticator) Forward(ctx context.Context, h Handshake) (Identity, error) {
	return a.forward.ask(ctx, h)
}
