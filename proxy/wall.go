package proxy

import (
	"net/url"
	"strings"

	"github.com/pushcart/pushcart/config"
)

// wall keeps strangers from the webhook's path: the second protection, behind the
// signature (SPEC §7).
type wall struct {
	text     string   // in normal form; "": no wall
	segments []string // of text
	partial  bool     // {event} is within a segment: the last one is a prefix
}

func newWall(cfg *config.Config) wall {
	path := cfg.WebhookWall()
	if path == "" {
		return wall{}
	}
	w := wall{segments: normal(path)}
	w.text = "/" + strings.Join(w.segments, "/")
	before, _, varies := strings.Cut(cfg.Webhook.URL, "{event}")
	w.partial = varies && !strings.HasSuffix(before, "/")
	return w
}

// hides says whether path is the webhook's, or below, in any spelling that a
// backend might take for it.
func (w *wall) hides(path []byte) bool {
	switch {
	case w.text == "":
		return false
	case isNormal(path):
		if len(path) < len(w.text) || string(path[:len(w.text)]) != w.text {
			return false
		}
		return w.partial || len(path) == len(w.text) || path[len(w.text)] == '/'
	}
	decoded := decode(string(path))
	if w.matches(normal(decoded)) {
		return true
	}
	// Some backends end the path where others read on.
	i := strings.IndexAny(decoded, "?#\x00")
	return i >= 0 && w.matches(normal(decoded[:i]))
}

// isNormal says that every reader reads path in the same way.
func isNormal(path []byte) bool {
	for i, c := range path {
		switch {
		case c >= 0x80, 'A' <= c && c <= 'Z', c <= ' ', c == '%', c == '\\', c == ';', c == '#':
			return false
		case c == '/' && i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.'):
			return false
		}
	}
	return true
}

func (w *wall) matches(segments []string) bool {
	if len(segments) < len(w.segments) {
		return false
	}
	for i, want := range w.segments {
		if segments[i] != want && !(w.partial && i == len(w.segments)-1 && strings.HasPrefix(segments[i], want)) {
			return false
		}
	}
	return true
}

// decodings is how often a path is decoded at the most.
const decodings = 3

func decode(path string) string {
	for range decodings {
		decoded := unescape(path)
		if decoded == path {
			break
		}
		path = decoded
	}
	return path
}

// normal is a path's segments: decoded, "\" as "/", ";…" cut, slashes merged, dots
// resolved, case folded.
func normal(path string) []string {
	s := strings.ReplaceAll(strings.ToLower(decode(path)), `\`, "/")
	var out []string
	for segment := range strings.SplitSeq(s, "/") {
		segment, _, _ = strings.Cut(segment, ";")
		switch segment {
		case "", ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, segment)
		}
	}
	return out
}

// unescape decodes what can be decoded and leaves the rest, as lenient backends
// do.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if d, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(d)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
