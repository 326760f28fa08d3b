package proxy

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/http1"
)

// wall keeps strangers from the webhook's path: the second protection, behind the
// signature (SPEC §7). Backends differ in how they read a path, so it stands before
// each reading that one of them is known to make.
type wall struct {
	text     string   // in normal form; "": no wall
	segments []string // of text
	partial  bool     // {event} is within a segment: the last one is a prefix
}

func newWall(hooks config.Webhook) wall {
	path := hooks.Wall()
	if path == "" {
		return wall{}
	}
	before, _, varies := strings.Cut(hooks.URL, "{event}")
	w := wall{partial: varies && !strings.HasSuffix(before, "/")}
	w.segments = strings.Split(withoutDots(fold(decode(path)))[1:], "/")
	for i := range w.segments {
		if !w.isPrefix(i) {
			w.segments[i] = trimmed(w.segments[i])
		}
	}
	w.text = "/" + strings.Join(w.segments, "/")
	return w
}

// isPrefix says that the segment at i is only begun by the wall.
func (w *wall) isPrefix(i int) bool { return w.partial && i == len(w.segments)-1 }

// oddPath is the longest path for which all readings are tried.
const oddPath = 1 << 10

// hides says whether path is the webhook's, or below, in any spelling that a
// backend might take for it.
func (w *wall) hides(path []byte) bool {
	switch {
	case w.text == "":
		return false
	case w.text == "/":
		return true // config refuses it
	case isNormal(path):
		if len(path) < len(w.text) || string(path[:len(w.text)]) != w.text {
			return false
		}
		return w.partial || len(path) == len(w.text) || path[len(w.text)] == '/'
	case !w.named(path):
		return false
	}
	return len(path) > oddPath || w.read(string(path))
}

// isNormal says that every reader reads path in the same way.
func isNormal(path []byte) bool {
	before := byte(0)
	for _, c := range path {
		switch {
		case c >= 0x80, 'A' <= c && c <= 'Z', c <= ' ', c == '%', c == '\\', c == ';', c == '#':
			return false
		case before == '/' && (c == '/' || c == '.'), before == '.' && c == '/':
			return false
		}
		before = c
	}
	return before != '.'
}

// named says whether the wall's segments occur in path at all, which is so in every
// reading of it that matches. It costs little; who sends a long path that is odd and
// has them is not worth more.
func (w *wall) named(path []byte) bool {
	rest := fold(decode(string(path)))
	for _, segment := range w.segments {
		i := strings.Index(rest, segment)
		if i < 0 {
			return false
		}
		rest = rest[i+len(segment):]
	}
	return true
}

// decodings is how often a path is decoded at most.
const decodings = 3

// maxForms is how many forms of an odd path are looked at after each decoding.
// Nothing but an attack has more.
const maxForms = 32

// read says whether a reader that decodes path some times, and cuts parameters off or
// resolves dots before or after it, finds the wall.
func (w *wall) read(path string) bool {
	level := []string{path}
	for _, form := range forms(path) {
		if rest := withoutHost(form); rest != "" {
			level = append(level, rest)
		}
	}
	for range decodings + 1 {
		var next []string
		for _, path := range level {
			for _, form := range forms(path) {
				if w.met(form) {
					return true
				}
				for _, other := range []string{form, withoutParameters(form), withoutDots(form)} {
					if decoded := unescape(other); decoded != path && !slices.Contains(next, decoded) {
						next = append(next, decoded)
					}
				}
			}
		}
		if len(next) > maxForms {
			return true
		}
		level = next
	}
	return false
}

// forms are path as it is, as Windows and the WHATWG's URL read it, to whom "\" is
// "/", and as the latter does, to whom "%2e" is a dot.
func forms(path string) []string {
	slashed := strings.ReplaceAll(path, `\`, "/")
	all := []string{path, slashed, encodedDots.Replace(path), encodedDots.Replace(slashed)}
	slices.Sort(all)
	return slices.Compact(all)
}

var encodedDots = strings.NewReplacer("%2e", ".", "%2E", ".")

// met says whether a reader that does no more than to resolve dots, or not even that,
// finds the wall. Before, Tomcat cuts ";…" off a segment, and nginx merges slashes.
func (w *wall) met(path string) bool {
	segments := strings.Split(path, "/")
	for _, cuts := range []bool{false, true} {
		for _, merges := range []bool{false, true} {
			if w.reached(segments, cuts, merges) {
				return true
			}
		}
	}
	return false
}

// reached resolves dots, and says whether the wall is ever met: a reader that resolves
// none, or only some, meets it before they lead away.
func (w *wall) reached(segments []string, cuts, merges bool) bool {
	depth, matching := 0, 0 // of the segments so far, and how many of them are the wall's
	for _, segment := range segments {
		if cuts {
			segment, _, _ = strings.Cut(segment, ";")
		}
		switch {
		case segment == ".", segment == "" && (merges || depth == 0):
			continue
		case segment == "..":
			depth = max(0, depth-1)
			matching = min(matching, depth)
			continue
		case matching == depth && w.is(segment, depth):
			if matching++; matching == len(w.segments) {
				return true
			}
		}
		depth++
	}
	return false
}

// is says whether a segment is the wall's at i.
func (w *wall) is(segment string, i int) bool {
	segment = decode(segment)
	if w.equal(segment, i) {
		return true
	}
	// Some readers end the path where others read on.
	end := strings.IndexAny(segment, "?#\x00\r\n")
	return end >= 0 && i == len(w.segments)-1 && w.equal(segment[:end], i)
}

func (w *wall) equal(segment string, i int) bool {
	if w.isPrefix(i) {
		return strings.HasPrefix(fold(segment), w.segments[i])
	}
	return fold(trimmed(segment)) == w.segments[i]
}

// trimmed is a segment without what some readers ignore at its end: Windows dots and
// spaces, "$" of a regular expression a line's end, Node the spaces of Latin-1.
func trimmed(segment string) string {
	return strings.TrimRightFunc(segment, func(r rune) bool {
		return r == '.' || unicode.IsSpace(r) || unicode.IsControl(r) || r == '\uFEFF' || r == utf8.RuneError
	})
}

// fold makes one of all spellings that are equal without case: in upper case "ſ" is
// "S", and in lower case the Kelvin sign is "k".
func fold(s string) string { return strings.ToLower(strings.ToUpper(s)) }

// withoutHost is what is left of "//host/path" for those that read it as a URL; ""
// if it is none.
func withoutHost(path string) string {
	if !strings.HasPrefix(path, "//") {
		return ""
	}
	_, rest, found := strings.Cut(strings.TrimLeft(path, "/"), "/")
	if !found {
		return ""
	}
	return "/" + rest
}

// withoutParameters cuts ";…" off every segment.
func withoutParameters(path string) string {
	if strings.IndexByte(path, ';') < 0 {
		return path
	}
	segments := strings.Split(path, "/")
	for i := range segments {
		segments[i], _, _ = strings.Cut(segments[i], ";")
	}
	return strings.Join(segments, "/")
}

// withoutDots merges slashes and resolves dots.
func withoutDots(path string) string {
	var out []string
	for segment := range strings.SplitSeq(path, "/") {
		switch segment {
		case "", ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, segment)
		}
	}
	return "/" + strings.Join(out, "/")
}

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

// unescape decodes what can be decoded and leaves the rest, as lenient backends
// do.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if hi, lo := http1.Unhex(s[i+1]), http1.Unhex(s[i+2]); hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
