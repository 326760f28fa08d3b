package glob

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLength of a pattern, in bytes: names are no longer.
const MaxLength = 255

// userWord stands for a segment that is the asking user's id.
const userWord = "{user}"

// userMark takes its place in a compiled pattern; no name has a control character.
const userMark = "\x00"

// The ways in which a pattern can be wrong, beside words in braces.
var (
	ErrEmpty    = errors.New("must not be empty")
	ErrTooLong  = errors.New("must not be longer than 255 bytes")
	ErrEncoding = errors.New("must be UTF-8 without control characters")
	ErrStars    = errors.New("must not have more than two * in a row")
	ErrUsers    = errors.New("must not have {user} twice")
	ErrGlued    = errors.New("{user} must be a whole segment between dots, like news.{user}")
)

// Pattern is a compiled pattern. The zero value matches nothing.
type Pattern struct {
	// text is the pattern with userMark for {user}; prefix is what stands before the
	// first special character of it, and rest the others.
	text, prefix, rest string
}

var braces = regexp.MustCompile(`\{[^{}]*\}`)

// Compile reads a pattern. Its errors say what the pattern must be like.
func Compile(pattern string) (Pattern, error) {
	switch {
	case pattern == "":
		return Pattern{}, ErrEmpty
	case len(pattern) > MaxLength:
		return Pattern{}, ErrTooLong
	case !utf8.ValidString(pattern) || strings.ContainsFunc(pattern, unicode.IsControl):
		return Pattern{}, ErrEncoding
	case strings.Contains(pattern, "***"):
		return Pattern{}, ErrStars
	case strings.Count(pattern, userWord) > 1:
		return Pattern{}, ErrUsers
	}
	for _, word := range braces.FindAllString(pattern, -1) {
		if word != userWord {
			return Pattern{}, fmt.Errorf("has %s; only {user} may stand in braces", word)
		}
	}
	before, after, named := strings.Cut(pattern, userWord)
	if named && (before != "" && !strings.HasSuffix(before, ".") || after != "" && after[0] != '.') {
		return Pattern{}, ErrGlued
	}
	text := strings.Replace(pattern, userWord, userMark, 1)
	special := strings.IndexAny(text, "*"+userMark)
	if special < 0 {
		special = len(text)
	}
	return Pattern{text, text[:special], text[special:]}, nil
}

// String is the pattern as it was written.
func (p Pattern) String() string { return strings.Replace(p.text, userMark, userWord, 1) }

// HasUser says whether {user} is in the pattern.
func (p Pattern) HasUser() bool { return strings.Contains(p.rest, userMark) }

// Match says whether a name fits for some user: {user} stands for any one segment.
func (p Pattern) Match(name string) bool { return p.match(name, anyUser) }

// MatchFor says whether a name fits for this user; with {user}, none does for "".
func (p Pattern) MatchFor(name, user string) bool {
	return p.match(name, func(segment string) bool { return isEscaped(segment, user) })
}

func anyUser(segment string) bool { return segment != "" }

// match says whether a name fits; user judges the segment in {user}'s place.
func (p Pattern) match(name string, user func(segment string) bool) bool {
	if !strings.HasPrefix(name, p.prefix) || p.text == "" {
		return false
	}
	name = name[len(p.prefix):]
	switch p.rest {
	case "":
		return name == ""
	case "**":
		return true
	}
	return matchRest(p.rest, name, user)
}

// matchRest tries the shortest text for each star first. What follows a ** fits best
// where it fits first, so that of all stars only the last *, and the last ** before it,
// are ever places to come back to.
func matchRest(pattern, name string, user func(segment string) bool) bool {
	type place struct{ pattern, name int }
	none := place{-1, -1}
	star, stars := none, none
	p, n := 0, 0
	for n < len(name) || p < len(pattern) {
		rest := pattern[p:]
		switch {
		case strings.HasPrefix(rest, "**"):
			p += 2
			star, stars = none, place{p, n}
			continue
		case strings.HasPrefix(rest, "*"):
			p++
			star = place{p, n}
			continue
		case strings.HasPrefix(rest, userMark):
			if s := segment(name[n:]); user(s) {
				p, n = p+1, n+len(s)
				continue
			}
		case rest != "" && n < len(name) && rest[0] == name[n]:
			p, n = p+1, n+1
			continue
		}
		switch {
		case star != none && star.name < len(name) && name[star.name] != '.':
			star.name++
			p, n = star.pattern, star.name
		case stars != none && stars.name < len(name):
			stars.name++
			star = none
			p, n = stars.pattern, stars.name
		default:
			return false
		}
	}
	return true
}

// segment is what stands before the first dot.
func segment(name string) string {
	if i := strings.IndexByte(name, '.'); i >= 0 {
		return name[:i]
	}
	return name
}

// isEscaped says whether a segment is a user's id as it stands in names: with %, . and
// * percent-encoded, so that it is one segment and no pattern.
func isEscaped(segment, user string) bool {
	if user == "" {
		return false
	}
	for {
		plain, escape, rest := nextEscape(user)
		after, ok := strings.CutPrefix(segment, plain)
		if !ok || !strings.HasPrefix(after, escape) {
			return false
		}
		if segment, user = after[len(escape):], rest; user == "" {
			return segment == ""
		}
	}
}

// nextEscape cuts an id at its first character that does not stand for itself.
func nextEscape(user string) (plain, escape, rest string) {
	i := strings.IndexAny(user, "%.*")
	if i < 0 {
		return user, "", ""
	}
	escape = "%25"
	switch user[i] {
	case '.':
		escape = "%2E"
	case '*':
		escape = "%2A"
	}
	return user[:i], escape, user[i+1:]
}

// Covers says whether every name that fits q fits p too. It is sure where it says so,
// and does not see it everywhere: of patterns that end in **, and of equal ones.
func (p Pattern) Covers(q Pattern) bool {
	return p.text == q.text || p.rest == "**" && strings.HasPrefix(q.prefix, p.prefix)
}
