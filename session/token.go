package session

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/pushcart/pushcart/auth"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/webhook"
)

// Refresh replaces the connection's token. expires is the connection's new end, zero for
// never. The new token's grants replace the old one's, and subscriptions that only the
// old one allowed end.
func (e *Engine) Refresh(s *Session, t Transport, token string, done func(expires time.Time, err *apierror.Error)) {
	r := &request{cost: len(token)}
	e.dear(s)
	r.act = func(webhook.Answer, error) {
		e.goOn(t, func() {
			expires, err := e.refresh(s, t, token)
			done(expires, e.reported(err, "refresh", "auth.jwt"))
			e.finish(s, t, r)
		})
	}
	e.begin(s, t, r)
}

func (e *Engine) refresh(s *Session, t Transport, token string) (expires time.Time, refused *apierror.Error) {
	ctx, cancel := e.patience()
	defer cancel()
	a := e.settings.Load().auth
	if !a.HasJWT() {
		return time.Time{}, noTokens()
	}
	id, err := a.Token(ctx, token)
	d := s.dialog()
	switch {
	case err != nil:
		return time.Time{}, badToken(err)
	case !d.isSubject(s, id.User):
		return time.Time{}, anothers()
	}
	s.ExpireAt(d.replace(e.grantsOf(id.Channels), id.ExpiresAt))
	t.Reschedule()
	user := s.member.User()
	e.review(s, t, func(l *lease) { l.main = d.rights.token.cover(l.channel, user) })
	return s.Expires(), nil
}

// replace takes the grants of a new token and returns when the connection ends.
func (d *dialog) replace(g *grants, ends time.Time) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	has := d.changeLocked()
	has.token = g
	if latest := time.Unix(int64(has.latest), 0); has.latest > 0 && (ends.IsZero() || latest.Before(ends)) {
		return latest
	}
	return ends
}

// isSubject says whether a token of this user is one of the connection's: the connect
// webhook may have given it another user_id than its token.
func (d *dialog) isSubject(s *Session, user string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return user == cmp.Or(d.rightsLocked().subject, s.member.User())
}

// grantsOf reads what a token or the connect answer grants.
func (e *Engine) grantsOf(channels []string) *grants {
	g, bad := newGrants(channels)
	if len(bad) > 0 {
		e.rare.Warn("bad grant", "a channel grant is ignored: it is not a valid pattern",
			"pattern", bad[0], "setting", "auth.jwt.channels_claim, webhook.url")
	}
	return g
}

// ownToken verifies a token that came with a subscription: it is for anybody, or for this
// user.
func (e *Engine) ownToken(ctx context.Context, s *Session, token string) (*auth.Identity, *apierror.Error) {
	a := e.settings.Load().auth
	if !a.HasJWT() {
		return nil, noTokens()
	}
	id, err := a.Grant(ctx, token)
	switch {
	case err != nil:
		return nil, badToken(err)
	case id.User != "" && !s.dialog().isSubject(s, id.User):
		return nil, anothers()
	}
	return &id, nil
}

func badToken(err error) *apierror.Error {
	var why *auth.Refusal
	switch {
	case errors.Is(err, auth.ErrUnavailable):
		return unavailable("tokens cannot be verified now")
	case errors.As(err, &why):
		return apierror.New(apierror.Unauthenticated, why.Reason)
	}
	return apierror.New(apierror.Internal, "internal error")
}

func noTokens() *apierror.Error {
	return apierror.New(apierror.NotFound, "tokens are not verified here")
}

func anothers() *apierror.Error {
	return apierror.New(apierror.Forbidden, "the token is another user's")
}

// tokenCost is how many messages a request with a token counts for (SPEC §11).
const tokenCost = 5

// dear counts a request that has a token for more than one message.
func (e *Engine) dear(s *Session) {
	for range tokenCost - 1 {
		e.Throttle(s)
	}
}
