package json

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/jsonread"
	"github.com/pushcart/pushcart/internal/names"
	"github.com/pushcart/pushcart/session"
)

// maxResume bounds ?resume=, in bytes as they are written (SPEC §4.3).
const maxResume = 8 << 10

var (
	errResumeLong   = errors.New("resume: longer than 8 KiB")
	errResumeBase64 = errors.New("resume: not base64url (RFC 4648 §5)")
	errResumeText   = errors.New("resume: not UTF-8")
	errResumeMany   = fmt.Errorf("resume: more than %d streams", session.MaxResumed)
	errResumeTwice  = errors.New("resume: is there twice")
)

// Resume reads ?resume= of a handshake: the positions of a client that comes back.
func (Protocol) Resume(query []byte) (*session.Resume, error) {
	value, found := "", false
	for part := range strings.SplitSeq(string(query), "&") {
		name, v, _ := strings.Cut(part, "=")
		switch {
		case name != "resume":
		case found:
			return nil, errResumeTwice
		default:
			value, found = v, true
		}
	}
	if !found {
		return &session.Resume{}, nil
	}
	if len(value) > maxResume {
		return nil, errResumeLong
	}
	value, err := url.QueryUnescape(value)
	if err != nil {
		return nil, errResumeBase64
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(value, "="))
	switch {
	case err != nil, strings.ContainsAny(value, "\r\n"): // which the decoder skips
		return nil, errResumeBase64
	case !utf8.Valid(b):
		return nil, errResumeText
	}
	return readResume(b)
}

// readResume reads {"user":{position},"channels":{"name":{position}}}.
func readResume(b []byte) (*session.Resume, error) {
	out := &session.Resume{}
	r := jsonread.New(b, maxDepth)
	seen := map[string]bool{}
	fault := r.Object("", func(name []byte) *jsonread.Fault {
		n := string(name)
		if seen[n] {
			return &jsonread.Fault{Field: n, Problem: "is there twice"}
		}
		seen[n] = true
		switch n {
		case "user":
			p, fault := positionIn(r)
			out.User = &p
			return fault.In("user.")
		case "channels":
			return readChannels(r, out).In("channels.")
		}
		return &jsonread.Fault{Field: shown(name), Problem: "unknown field"}
	})
	if fault == nil {
		fault = r.End()
	}
	streams := len(out.Channels)
	if out.User != nil {
		streams++
	}
	switch {
	case fault != nil && fault.Field == "":
		return nil, errors.New("resume: " + fault.Problem)
	case fault != nil:
		return nil, errors.New("resume: " + fault.Field + ": " + fault.Problem)
	case streams > session.MaxResumed:
		return nil, errResumeMany
	}
	return out, nil
}

// positionIn reads the position that comes next.
func positionIn(r *jsonread.Reader) (p hub.Position, fault *jsonread.Fault) {
	value, fault := r.Value()
	if fault == nil {
		p, fault = readPosition(value)
	}
	if fault != nil && fault.Field == "" {
		fault = &jsonread.Fault{Field: "position", Problem: fault.Problem}
	}
	return p, fault
}

func readChannels(r *jsonread.Reader, out *session.Resume) *jsonread.Fault {
	seen := map[string]bool{}
	return r.Object("channels", func(name []byte) *jsonread.Fault {
		channel := string(name)
		switch err := names.CheckChannel(channel); {
		case err != nil:
			return &jsonread.Fault{Field: shown(name), Problem: err.Error()}
		case strings.ContainsRune(channel, utf8.RuneError): // what half a surrogate pair becomes
			return &jsonread.Fault{Field: shown(name), Problem: "has an invalid character"}
		case seen[channel]:
			return &jsonread.Fault{Field: shown(name), Problem: "is there twice"}
		}
		seen[channel] = true
		p, fault := positionIn(r)
		out.Channels = append(out.Channels, session.Resumed{Channel: channel, After: p})
		return fault.In(shown(name) + ".")
	})
}
