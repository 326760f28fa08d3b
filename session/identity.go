package session

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pushcart/pushcart/auth"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/http1"
	"github.com/pushcart/pushcart/internal/names"
	"github.com/pushcart/pushcart/webhook"
)

// identity is who is let in, with what.
type identity struct {
	user    string
	subject string // of the token, "" without one
	// granted are names and patterns of the token, given those of the connect answer.
	granted, given []string
	channels       []string // the names among them, to subscribe to
	expires        time.Time
	latest         time.Time // of the connect answer, zero for none
	claims         json.RawMessage
	state          json.RawMessage
	info           json.RawMessage // for presence
	subprotocol    string          // what the connect answer selected
	messages       [][]byte        // to send first, each JSON
}

// identify is step 4: JWT, then forward, then the connect webhook, those that are
// configured; each may refuse, and a later one's user replaces an earlier one's.
func (w *admitting) identify(ctx context.Context) (*identity, *Refusal) {
	id := &identity{}
	missing, r := w.credentials(ctx, id)
	if r != nil {
		return nil, r
	}
	w.showClaim(id)
	asked := w.set.connect != nil
	if asked {
		if r := w.connect(ctx, id); r != nil {
			return nil, r
		}
	}
	alone := asked && !w.set.credentials()
	switch {
	case id.user != "" || w.set.anonymous || alone:
	case missing != nil:
		return nil, missing.perhapsTheApps()
	default:
		return nil, Refuse("unauthenticated", apierror.Unauthenticated,
			"nobody is let in: configure auth.jwt, auth.forward, a connect webhook or auth.anonymous").
			look("auth").perhapsTheApps()
	}
	most := w.set.limits.ChannelsPerConnection
	if id.channels = namesOf(most+1, id.granted, id.given); len(id.channels) > most {
		return nil, Refuse("limit", apierror.RateLimited, "more channels than limits.channels_per_connection").
			look("limits.channels_per_connection")
	}
	return id, nil
}

// credentials asks JWT and forward. missing is the refusal that holds unless
// somebody else names a user; it has taken from id what earlier ways in gave.
func (w *admitting) credentials(ctx context.Context, id *identity) (missing, final *Refusal) {
	if !w.set.credentials() {
		return nil, nil
	}
	a := w.set.auth
	with := auth.Handshake{
		Lines: w.lines, Query: string(w.head.Query), Protocols: w.offers,
		Host: string(w.head.Host), URI: w.uri(), From: w.from,
	}
	if a.HasJWT() {
		token, found := a.FindToken(with)
		if !found {
			missing = Refuse("unauthenticated", apierror.Unauthenticated, "no token").look("auth.jwt.sources")
		} else if got, err := a.Token(ctx, token); err != nil {
			return nil, refuseAuth(err)
		} else {
			id.take(got)
		}
	}
	if !a.HasForward() {
		return missing, nil
	}
	began := time.Now()
	got, err := a.Forward(ctx, with)
	w.Asked += time.Since(began)
	w.SetCookie = got.SetCookie
	switch {
	case err == nil:
		id.take(got)
		return nil, nil
	case errors.Is(err, auth.ErrUnavailable):
		return nil, refuseAuth(err)
	}
	*id = identity{}
	return refuseAuth(err), nil
}

// lines are the values of a header, one for each of its lines.
func (w *admitting) lines(name string) (values []string) {
	for _, f := range w.head.Fields {
		if http1.EqualFold(f.Name, name) {
			values = append(values, string(f.Value))
		}
	}
	return values
}

// uri is the raw path with its query.
func (w *admitting) uri() string {
	uri := string(w.head.Path)
	if w.head.HasQuery {
		uri += "?" + string(w.head.Query)
	}
	return uri
}

func (id *identity) take(got auth.Identity) {
	id.user = got.User
	if got.Claims != nil {
		id.subject = got.User
	}
	id.granted = append(id.granted, got.Channels...)
	id.until(got.ExpiresAt)
	if got.Claims != nil {
		id.claims = got.Claims
	}
}

// namesOf are the channels to subscribe to, each once, at most so many. Patterns only
// permit to subscribe, which raw connections have no way to do.
func namesOf(most int, lists ...[]string) (names []string) {
	for _, list := range lists {
		for _, ch := range list {
			if len(names) < most && !isPattern(ch) && !slices.Contains(names, ch) {
				names = append(names, ch)
			}
		}
	}
	return names
}

func isPattern(channel string) bool { return strings.Contains(channel, "*") }

// until takes the earlier end.
func (id *identity) until(t time.Time) {
	if !t.IsZero() && (id.expires.IsZero() || t.Before(id.expires)) {
		id.expires = t
	}
}

func refuseAuth(err error) *Refusal {
	var why *auth.Refusal
	if !errors.As(err, &why) {
		return Refuse("error", apierror.Internal, "the credentials could not be judged").Because(err)
	}
	result, code := "unauthenticated", apierror.Unauthenticated
	switch {
	case errors.Is(err, auth.ErrForbidden):
		result, code = "forbidden", apierror.Forbidden
	case errors.Is(err, auth.ErrUnavailable):
		result, code = "error", apierror.Unavailable
	}
	r := Refuse(result, code, why.Reason).look(why.Key)
	r.detail = why.Detail
	if code == apierror.Unavailable {
		r.after(1)
	}
	return r
}

// connectBody is the body of the connect event (SPEC §5).
type connectBody struct {
	ConnectionID string              `json:"connection_id"`
	Path         string              `json:"path"`
	Query        map[string][]string `json:"query"`
	Headers      map[string][]string `json:"headers"`
	Subprotocols []string            `json:"subprotocols"`
	RemoteIP     string              `json:"remote_ip"`
	UserID       string              `json:"user_id"`
	Claims       json.RawMessage     `json:"claims,omitempty"`
}

func (w *admitting) connectEvent(id *identity) (*webhook.Event, error) {
	query, _ := url.ParseQuery(string(w.head.Query)) // what cannot be read is left out
	fields, _ := w.forwardHeaders(w.set.forConnect)
	headers := map[string][]string{}
	for _, f := range w.head.Fields {
		name := http.CanonicalHeaderKey(string(f.Name))
		headers[name] = append(headers[name], string(f.Value))
	}
	body, err := json.Marshal(connectBody{
		ConnectionID: w.member.ID(), Path: string(w.head.Path), Query: query, Headers: headers,
		Subprotocols: append([]string{}, w.offers...), RemoteIP: w.from.IP.String(), UserID: id.user, Claims: id.claims,
	})
	if err != nil {
		return nil, err
	}
	return &webhook.Event{
		Source: webhook.Source{
			ConnectionID: w.member.ID(), UserID: id.user,
			ForwardedFor: w.from.ForwardedFor, Proto: w.from.Proto, Host: w.from.Host,
			RequestHost: string(w.head.Host), Header: fields, Trace: w.trace(),
		},
		Name: webhook.Connect, Sequence: 1, ContentType: contentJSON, Body: body,
	}, nil
}

// connect asks the backend. What it answers changes id.
func (w *admitting) connect(ctx context.Context, id *identity) *Refusal {
	ev, err := w.connectEvent(id)
	if err != nil {
		return Refuse("error", apierror.Internal, "the connect event could not be written")
	}
	leave, ok := w.engine.mayAsk(len(ev.Body))
	if !ok {
		return w.noAnswer(errCrowded)
	}
	defer leave()
	began := time.Now()
	answer, err := w.engine.hooks.Connect(ctx, w.set.connect, ev)
	w.Asked += time.Since(began)
	switch {
	case err != nil:
		return w.noAnswer(err)
	case answer.Status/100 == 4:
		return rejected(answer)
	case answer.Status != http.StatusOK:
		return nil
	}
	got, err := w.engine.hooks.ParseConnectAnswer(answer)
	if err == nil {
		w.show(id, got.Info, "webhook.url")
		err = id.answer(got)
	}
	if err != nil {
		return w.noAnswer(err)
	}
	return nil
}

// rejected passes the app's refusal on. Strangers and wrong signatures get the same
// status from most apps, so the log names both.
func rejected(answer webhook.Answer) *Refusal {
	cause, key := "the connect webhook answered "+strconv.Itoa(answer.Status), "webhook.url"
	if answer.Status == http.StatusUnauthorized || answer.Status == http.StatusForbidden {
		cause += ": it knows nobody by this handshake, or the signature is wrong"
		key += ", webhook.secrets"
	}
	return &Refusal{
		Result: "rejected", Status: answer.Status, ContentType: answer.ContentType, Body: answer.Body, cause: cause, key: key,
	}
}

// noAnswer is webhook.on_error.connect.
func (w *admitting) noAnswer(err error) *Refusal {
	if w.set.allowOnError {
		return nil
	}
	return Refuse("error", apierror.Unavailable, "the backend cannot say who may come in").
		Because(err).look("webhook.url, webhook.on_error.connect").after(1)
}

// answer takes what a 200 says.
func (id *identity) answer(got webhook.ConnectAnswer) error {
	for _, ch := range got.Channels {
		if err := names.CheckUser(ch); err != nil {
			return err
		}
	}
	if got.UserID != nil && *got.UserID != "" {
		if err := names.CheckUser(*got.UserID); err != nil {
			return err
		}
		id.user = *got.UserID
	}
	id.given = got.Channels
	if got.ExpiresAt != nil {
		id.latest = *got.ExpiresAt
		id.until(id.latest)
	}
	id.state, id.subprotocol = got.State, got.Subprotocol
	for _, m := range got.Messages {
		id.messages = append(id.messages, m)
	}
	return nil
}
