package push

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/jsonread"
	"github.com/pushcart/pushcart/internal/names"
	"github.com/pushcart/pushcart/internal/strictjson"
)

// draft is a push whose fields are being read.
type draft struct{ hub.Push }

// The setters of a push's options say what is wrong with a value, "" if nothing
// is.

func (p *draft) setEvent(s string) string {
	if !validEvent(s) {
		return "must be 1 to 64 of a-z 0-9 _ . -"
	}
	p.Event = s
	return ""
}

func validEvent(s string) bool {
	ok := func(c rune) bool {
		return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-'
	}
	return s != "" && len(s) <= maxEvent && !strings.ContainsFunc(s, func(c rune) bool { return !ok(c) })
}

func (p *draft) setID(s string) string {
	if len(s) > maxID || names.CheckUser(s) != nil {
		return "must be 1 to 128 bytes of UTF-8 without control characters"
	}
	p.ID = s
	return ""
}

// A ttl's bounds: the shortest time that is told apart, and the longest that a duration
// of the configuration may be.
const (
	minTTL = time.Millisecond
	maxTTL = 87600 * time.Hour
)

func (p *draft) setTTL(s string) string {
	d, err := time.ParseDuration(s)
	if err != nil || d < minTTL || d > maxTTL {
		return "must be a duration, like 30s, from 1ms to 87600h"
	}
	p.TTL = d
	return ""
}

func (p *draft) setWait(s string) string {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > hub.MaxWait {
		return "must be a duration of at most 30s"
	}
	p.Wait = d
	return ""
}

// setRaw takes a raw route's body as the frame it is to be; p.data aliases body.
func (p *draft) setRaw(contentType string, body []byte) *apierror.Error {
	kind := mediaType(contentType)
	switch {
	case kind == "application/octet-stream":
		p.Kind = hub.Binary
	case !utf8.Valid(body):
		return apierror.New(apierror.InvalidArgument,
			"body: not UTF-8; send Content-Type: application/octet-stream for binary")
	case kind == "application/json":
		body = strictjson.TrimBOM(body)
		r := jsonread.New(body, maxDepth)
		if _, f := r.Value(); f != nil {
			return asError(f)
		}
		if f := r.End(); f != nil {
			return asError(f)
		}
		p.Kind = hub.JSON
	default:
		p.Kind = hub.Text
	}
	p.Data = body
	return nil
}

func mediaType(contentType string) string {
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// unmarshal reads an object of a few fields, each given at most once; fields are
// the readers of their values.
func unmarshal(body []byte, fields map[string]func(*jsonReader) *fault) *apierror.Error {
	r, f := newJSONReader(body)
	if f != nil {
		return asError(f)
	}
	known := map[string]bool{}
	f = r.Object("", func(key []byte) *fault {
		name := string(key)
		read := fields[name]
		switch {
		case read == nil:
			return bad(name, "unknown field")
		case known[name]:
			return bad(name, "given twice")
		}
		known[name] = true
		return read(r)
	})
	if f == nil {
		f = r.End()
	}
	if f != nil {
		return asError(f)
	}
	return nil
}
