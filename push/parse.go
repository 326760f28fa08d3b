package push

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/names"
)

const (
	// MaxBatch is how many pushes one request may carry (SPEC §6.1).
	MaxBatch = 1000
	maxWait  = 30 * time.Second
	maxID    = 128
	maxEvent = 64
)

// wirePush is a push as it stands in a request's body.
type wirePush struct {
	To         *wireTargets    `json:"to"`
	Except     *wireExcept     `json:"except"`
	Data       json.RawMessage `json:"data"`
	Text       *string         `json:"text"`
	DataBase64 *string         `json:"data_base64"`
	Event      *string         `json:"event"`
	ID         *string         `json:"id"`
	TTL        *string         `json:"ttl"`
	Wait       *string         `json:"wait"`
	Ack        bool            `json:"ack"`

	Pushes *[]json.RawMessage `json:"pushes"`
}

type wireTargets struct {
	Users       []string `json:"users"`
	Channels    []string `json:"channels"`
	Connections []string `json:"connections"`
	All         bool     `json:"all"`
}

type wireExcept struct {
	Users       []string `json:"users"`
	Connections []string `json:"connections"`
}

// parseBody reads the body of POST /v1/push: one push, or a batch.
func parseBody(body []byte) (pushes []*Push, batch bool, err *apierror.Error) {
	var w wirePush
	if err := decode(body, &w, ""); err != nil {
		return nil, false, err
	}
	if w.Pushes == nil {
		p, err := w.check("")
		return []*Push{p}, false, err
	}
	if w.To != nil || w.Except != nil || w.payloads() > 0 || w.Event != nil || w.ID != nil || w.TTL != nil || w.Wait != nil || w.Ack {
		return nil, true, apierror.Invalid("pushes", "must stand alone")
	}
	if n := len(*w.Pushes); n > MaxBatch {
		return nil, true, apierror.Invalid("pushes", fmt.Sprintf("must not be more than %d", MaxBatch))
	}
	for i, raw := range *w.Pushes {
		path := fmt.Sprintf("pushes[%d].", i)
		var one wirePush
		if err := decode(raw, &one, path); err != nil {
			return nil, true, err
		}
		if one.Pushes != nil {
			return nil, true, apierror.Invalid(path+"pushes", "unknown field")
		}
		p, err := one.check(path)
		if err != nil {
			return nil, true, err
		}
		pushes = append(pushes, p)
	}
	return pushes, true, nil
}

// decode reads one JSON object strictly.
func decode(body []byte, into any, path string) *apierror.Error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return decodeError(err, path)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return apierror.New(apierror.InvalidArgument, "body: more than one JSON value")
	}
	return nil
}

func decodeError(err error, path string) *apierror.Error {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		field := path + wrongType.Field
		if field == "" {
			return apierror.New(apierror.InvalidArgument, "body: must be a JSON object, not "+wrongType.Value)
		}
		return apierror.Invalid(field, "must not be "+wrongType.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return apierror.Invalid(path+strings.Trim(name, `"`), "unknown field")
	}
	return apierror.New(apierror.InvalidArgument, "body: not JSON: "+strings.TrimPrefix(err.Error(), "json: "))
}

func (w *wirePush) payloads() int {
	return boolInt(w.Data != nil) + boolInt(w.Text != nil) + boolInt(w.DataBase64 != nil)
}

// check turns what was sent into a push; path begins the fields of its errors.
func (w *wirePush) check(path string) (*Push, *apierror.Error) {
	p := &Push{}
	if err := w.checkTargets(path, &p.to); err != nil {
		return nil, err
	}
	if w.payloads() != 1 {
		return nil, apierror.Invalid(path+"data", "exactly one of data, text, data_base64 is wanted")
	}
	switch {
	case w.Data != nil:
		p.kind, p.data = JSON, w.Data
	case w.Text != nil:
		p.kind, p.data = Text, []byte(*w.Text)
	default:
		b, err := base64.StdEncoding.DecodeString(*w.DataBase64)
		if err != nil {
			return nil, apierror.Invalid(path+"data_base64", "not base64")
		}
		p.kind, p.data = Binary, b
	}
	if w.Ack {
		return nil, apierror.Invalid(path+"ack", "not available in this version")
	}
	return p, p.options(path, options{event: w.Event, id: w.ID, ttl: w.TTL, wait: w.Wait})
}

// options are a push's further fields, or a raw route's query; nil is absent.
type options struct{ event, id, ttl, wait *string }

func (p *Push) options(path string, o options) *apierror.Error {
	if o.event != nil {
		if !validEvent(*o.event) {
			return apierror.Invalid(path+"event", "must be 1 to 64 of a-z 0-9 _ . -")
		}
		p.event = *o.event
	}
	if o.id != nil {
		if n := len(*o.id); n == 0 || n > maxID || names.CheckUser(*o.id) != nil {
			return apierror.Invalid(path+"id", "must be 1 to 128 bytes of UTF-8 without control characters")
		}
		p.id = *o.id
	}
	if o.ttl != nil {
		if d, err := time.ParseDuration(*o.ttl); err != nil || d <= 0 {
			return apierror.Invalid(path+"ttl", "must be a duration above 0, like 30s")
		}
	}
	if o.wait != nil {
		d, err := time.ParseDuration(*o.wait)
		if err != nil || d < 0 || d > maxWait {
			return apierror.Invalid(path+"wait", "must be a duration of at most 30s")
		}
		p.wait = d
	}
	return nil
}

func (w *wirePush) checkTargets(path string, to *targets) *apierror.Error {
	if w.To == nil {
		return apierror.Invalid(path+"to", "a push needs a target: users, channels, connections or all")
	}
	*to = targets{users: w.To.Users, channels: w.To.Channels, connections: w.To.Connections, all: w.To.All}
	if len(to.users)+len(to.channels)+len(to.connections) == 0 && !to.all {
		return apierror.Invalid(path+"to", "a push needs a target: users, channels, connections or all")
	}
	if w.Except != nil {
		to.exceptUsers, to.exceptConnection = w.Except.Users, w.Except.Connections
	}
	for _, list := range []struct {
		name   string
		values *[]string
		check  func(string) error
	}{
		{"to.users", &to.users, names.CheckUser},
		{"to.channels", &to.channels, names.CheckChannel},
		{"to.connections", &to.connections, names.CheckUser},
		{"except.users", &to.exceptUsers, names.CheckUser},
		{"except.connections", &to.exceptConnection, names.CheckUser},
	} {
		for i, v := range *list.values {
			if err := list.check(v); err != nil {
				return apierror.Invalid(fmt.Sprintf("%s%s[%d]", path, list.name, i), err.Error())
			}
		}
		*list.values = unique(*list.values)
	}
	return nil
}

// unique drops repeats, keeping the order.
func unique(list []string) []string {
	if len(list) < 2 {
		return list
	}
	seen := make(map[string]bool, len(list))
	return slices.DeleteFunc(list, func(s string) bool {
		again := seen[s]
		seen[s] = true
		return again
	})
}

func validEvent(s string) bool {
	if s == "" || len(s) > maxEvent {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// rawPayload takes a raw route's body as the frame it is to be.
func (p *Push) rawPayload(contentType string, body []byte) *apierror.Error {
	kind, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch kind = strings.TrimSpace(kind); {
	case kind == "application/octet-stream":
		p.kind = Binary
	case !utf8.Valid(body):
		return apierror.New(apierror.InvalidArgument,
			"body: not UTF-8; send Content-Type: application/octet-stream for binary")
	case kind == "application/json":
		if p.kind = JSON; !json.Valid(body) {
			return apierror.New(apierror.InvalidArgument, "body: not JSON")
		}
	default:
		p.kind = Text
	}
	p.data = bytes.Clone(body)
	return nil
}
