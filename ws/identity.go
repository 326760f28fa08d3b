package ws

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pushcart/pushcart/auth"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/http1"
	"github.com/pushcart/pushcart/internal/names"
	"github.com/pushcart/pushcart/webhook"
)

// identity is who is let in, with what.
type identity struct {
	user        string
	channels    []string // names to subscribe to
	expires     time.Time
	claims      json.RawMessage
	state       json.RawMessage
	subprotocol string   // what the connect answer selected
	messages    [][]byte // to send first
}

// identify is step 4: JWT, then forward, then the connect webhook, those that are
// configured; each may refuse, and a later one's user replaces an earlier one's.
func (h *handshake) identify(ctx context.Context) (*identity, *refusal) {
	s := h.srv
	ctx, cancel := context.WithTimeout(ctx, s.cfg.WebSocket.HandshakeTimeout)
	defer cancel()
	id := &identity{}
	missing, r := h.credentials(ctx, id)
	if r != nil {
		return nil, r
	}
	asked := s.wants(webhook.Connect)
	if asked {
		if r := h.connect(ctx, id); r != nil {
			return nil, r
		}
	}
	alone := asked && !s.auth.HasJWT() && !s.auth.HasForward()
	switch {
	case id.user != "" || s.cfg.Auth.Anonymous || alone:
	case missing != nil:
		return nil, missing.perhapsTheApps()
	default:
		return nil, refuse("unauthenticated", apierror.Unauthenticated,
			"nobody is let in: configure auth.jwt, auth.forward, a connect webhook or auth.anonymous").
			look("auth").perhapsTheApps()
	}
	if n := len(id.channels); n > s.cfg.Limits.ChannelsPerConnection {
		return nil, refuse("limit", apierror.RateLimited, "more channels than limits.channels_per_connection").
			look("limits.channels_per_connection")
	}
	return id, nil
}

// credentials asks JWT and forward. missing is the refusal that holds unless
// somebody else names a user; it has taken from id what earlier ways in gave.
func (h *handshake) credentials(ctx context.Context, id *identity) (missing, final *refusal) {
	a := h.srv.auth
	if !a.HasJWT() && !a.HasForward() {
		return nil, nil
	}
	with := auth.Handshake{
		Lines: h.lines, Query: string(h.head.Query), Protocols: h.offers,
		Host: string(h.head.Host), URI: h.uri(), From: h.from,
	}
	if a.HasJWT() {
		token, found := a.FindToken(with)
		if !found {
			missing = refuse("unauthenticated", apierror.Unauthenticated, "no token").look("auth.jwt.sources")
		} else if got, err := a.Token(ctx, token); err != nil {
			return nil, refuseAuth(err)
		} else {
			id.take(got)
		}
	}
	if !a.HasForward() {
		return missing, nil
	}
	got, err := a.Forward(ctx, with)
	h.cookies = got.SetCookie
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
func (h *handshake) lines(name string) (values []string) {
	for _, f := range h.head.Fields {
		if http1.EqualFold(f.Name, name) {
			values = append(values, string(f.Value))
		}
	}
	return values
}

// uri is the raw path with its query.
func (h *handshake) uri() string {
	uri := string(h.head.Path)
	if h.head.HasQuery {
		uri += "?" + string(h.head.Query)
	}
	return uri
}

func (id *identity) take(got auth.Identity) {
	id.user = got.User
	id.addChannels(got.Channels)
	id.until(got.ExpiresAt)
	if got.Claims != nil {
		id.claims = got.Claims
	}
}

// addChannels takes names; patterns are grants to subscribe, which raw
// connections have no way to use.
func (id *identity) addChannels(channels []string) {
	for _, ch := range channels {
		if !strings.Contains(ch, "*") {
			id.channels = append(id.channels, ch)
		}
	}
}

// until takes the earlier end.
func (id *identity) until(t time.Time) {
	if !t.IsZero() && (id.expires.IsZero() || t.Before(id.expires)) {
		id.expires = t
	}
}

func refuseAuth(err error) *refusal {
	var why *auth.Refusal
	if !errors.As(err, &why) {
		return refuse("error", apierror.Internal, "the credentials could not be judged").because(err)
	}
	result, code := "unauthenticated", apierror.Unauthenticated
	switch {
	case errors.Is(err, auth.ErrForbidden):
		result, code = "forbidden", apierror.Forbidden
	case errors.Is(err, auth.ErrUnavailable):
		result, code = "error", apierror.Unavailable
	}
	r := refuse(result, code, why.Reason).look(why.Key)
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

func (h *handshake) connectEvent(id *identity) (*webhook.Event, error) {
	query, _ := url.ParseQuery(string(h.head.Query)) // what cannot be read is left out
	fields, _ := h.forwardHeaders(h.srv.cfg.Webhook.ForwardHeaders.Connect)
	headers := map[string][]string{}
	for _, f := range h.head.Fields {
		name := http.CanonicalHeaderKey(string(f.Name))
		headers[name] = append(headers[name], string(f.Value))
	}
	body, err := json.Marshal(connectBody{
		ConnectionID: h.member.ID(), Path: string(h.head.Path), Query: query, Headers: headers,
		Subprotocols: append([]string{}, h.offers...), RemoteIP: h.from.IP.String(), UserID: id.user, Claims: id.claims,
	})
	if err != nil {
		return nil, err
	}
	return &webhook.Event{
		Source: webhook.Source{
			ConnectionID: h.member.ID(), UserID: id.user,
			ForwardedFor: h.from.ForwardedFor, Proto: h.from.Proto, Host: h.from.Host,
			RequestHost: string(h.head.Host), Header: fields,
		},
		Name: webhook.Connect, Sequence: 1, ContentType: contentJSON, Body: body,
	}, nil
}

// connect asks the backend. What it answers changes id.
func (h *handshake) connect(ctx context.Context, id *identity) *refusal {
	ev, err := h.connectEvent(id)
	if err != nil {
		return refuse("error", apierror.Internal, "the connect event could not be written")
	}
	leave, ok := h.srv.mayAsk(len(ev.Body))
	if !ok {
		return h.noAnswer(errCrowded)
	}
	defer leave()
	answer, err := h.srv.hooks.Connect(ctx, ev)
	switch {
	case err != nil:
		return h.noAnswer(err)
	case answer.Status/100 == 4:
		return &refusal{
			result: "rejected", status: answer.Status, contentType: answer.ContentType, body: answer.Body,
			cause: "the connect webhook answered " + strconv.Itoa(answer.Status), key: "webhook.url",
		}
	case answer.Status != http.StatusOK:
		return nil
	}
	got, err := h.srv.hooks.ParseConnectAnswer(answer)
	if err == nil {
		err = id.answer(got)
	}
	if err != nil {
		return h.noAnswer(err)
	}
	return nil
}

// noAnswer is webhook.on_error.connect.
func (h *handshake) noAnswer(err error) *refusal {
	s := h.srv
	if s.cfg.Webhook.OnError.Connect == config.Allow && s.cfg.Auth.Anonymous {
		return nil
	}
	return refuse("error", apierror.Unavailable, "the backend cannot say who may come in").
		because(err).look("webhook.url, webhook.on_error.connect").after(1)
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
	id.addChannels(got.Channels)
	if got.ExpiresAt != nil {
		id.until(*got.ExpiresAt)
	}
	id.state, id.subprotocol = got.State, got.Subprotocol
	for _, m := range got.Messages {
		id.messages = append(id.messages, rawText(m))
	}
	return nil
}

// rawText is a JSON value as a raw client gets it: a string's own text, anything
// else as it is written.
func rawText(m json.RawMessage) []byte {
	var s string
	if json.Unmarshal(m, &s) == nil && len(m) > 0 && m[0] == '"' {
		return []byte(s)
	}
	return m
}
