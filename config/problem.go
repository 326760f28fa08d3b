package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	// Where is the place, like "pushcart.yaml:12" or "--backend"; "" where there
	// is none.
	Where string
	// Path is the key, like "websocket.pong_timeout" or "trusted_proxies[1]"; ""
	// for the file as a whole.
	Path string
	// Message says what is wrong.
	Message string

	line   int
	unread bool     // the value could not be read, so nothing else is said about it
	words  []string // which the value had to be one of
}

// Problems are everything that was found, in the order of the file.
type Problems []Problem

// Error is one line for each problem, "where: path.in.yaml: what is wrong".
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		for _, part := range []string{one.Where, one.Path} {
			if part != "" {
				lines[i] += part + ": "
			}
		}
		lines[i] += one.Message
	}
	return strings.Join(lines, "\n")
}

// add notes a problem, unless the value could not be read in the first place: one
// mistake is one problem. Passwords in the arguments are hidden.
func (p *Problems) add(path, format string, args ...any) {
	if !p.unread(path) {
		*p = append(*p, Problem{Path: path, Message: message(format, args)})
	}
}

// addWord is add for a value that has to be one of a few words.
func (p *Problems) addWord(path string, words []string, format string, args ...any) {
	before := len(*p)
	p.add(path, format, args...)
	for i := before; i < len(*p); i++ {
		(*p)[i].words = words
	}
}

// addUnread notes a value that could not be read.
func (p *Problems) addUnread(path, format string, args ...any) {
	*p = append(*p, Problem{Path: path, Message: message(format, args), unread: true})
}

// unread says whether the value of path, a part of it, or the file that holds it
// could not be read.
func (p *Problems) unread(path string) bool {
	return path != "" && slices.ContainsFunc(*p, func(q Problem) bool { return q.unread && within(q.Path, path) })
}

// within says whether path is key, a part of it, or the file that holds its value.
func within(path, key string) bool {
	rest, ok := strings.CutPrefix(path, key)
	return ok && (rest == "" || rest == "_file" || rest[0] == '.' || rest[0] == '[')
}

// about keeps the problems of these keys and of the file as a whole.
func (p Problems) about(keys []string) Problems {
	return slices.DeleteFunc(p, func(one Problem) bool {
		return one.Path != "" && !slices.ContainsFunc(keys, func(key string) bool {
			return within(one.Path, key) || within(key, one.Path)
		})
	})
}

// sort brings what has a line into the order of the file, and the rest after it.
func (p Problems) sort() {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(min(b.line, 1), min(a.line, 1)), cmp.Compare(a.line, b.line))
	})
}

func message(format string, args []any) string {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = shown(s)
		}
	}
	return fmt.Sprintf(format, args...)
}

// credentials are what stands before an @ in a URL, also in one that is not
// written right: a password may contain every character.
var credentials = regexp.MustCompile(`(?s)^([A-Za-z][A-Za-z0-9+.-]*:(//)?)?.*@`)

const longest = 200 // of a value in a message, in bytes

// shown is a value as it may be printed: without credentials, and short.
func shown(s string) string { return short(Redact(s)) }

func short(s string) string {
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}

// Redact hides the user and password of a URL that is printed.
func Redact(url string) string {
	return credentials.ReplaceAllString(url, "${1}"+redacted+"@")
}
