package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"
)

// The ways in which a value can be wrong.
var (
	ErrNotObject = errors.New("is not a JSON object")
	ErrTwice     = errors.New("has a name twice")
	ErrNotText   = errors.New("is neither a string nor a whole number")
	ErrNotUTF8   = errors.New("is not UTF-8")
	ErrNotTexts  = errors.New("is neither a string nor a list of strings")
	ErrNotTime   = errors.New("is not a number of seconds since 1970")
)

var bom = []byte("\xef\xbb\xbf")

// TrimBOM cuts the byte order mark that some programs write before JSON.
func TrimBOM(b []byte) []byte { return bytes.TrimPrefix(b, bom) }

// Object returns the members of a JSON object by their exact names.
func Object(b []byte) (map[string]json.RawMessage, error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(b, &members) != nil || members == nil { // nil: null
		return nil, ErrNotObject
	}
	if len(members) > 0 && len(members) != count(b) {
		return nil, ErrTwice
	}
	return members, nil
}

// count returns how many members a valid object that is not empty has: one more
// than the commas between them.
func count(b []byte) int {
	depth, members := 0, 1
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 1 {
				members++
			}
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		}
	}
	return members
}

// Null says whether a member is absent or null.
func Null(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// Text reads a string, or a whole number as its decimal text, however large.
func Text(raw json.RawMessage) (string, error) {
	if len(raw) == 0 {
		return "", ErrNotText
	}
	if c := raw[0]; c == '-' || '0' <= c && c <= '9' {
		if bytes.ContainsAny(raw, ".eE") || !json.Valid(raw) {
			return "", ErrNotText
		}
		return string(raw), nil
	}
	var s *string
	if json.Unmarshal(raw, &s) != nil || s == nil {
		return "", ErrNotText
	}
	// encoding/json writes U+FFFD for whatever is not Unicode, so that two names
	// would become one.
	if strings.ContainsRune(*s, utf8.RuneError) {
		return "", ErrNotUTF8
	}
	return *s, nil
}

// Texts reads a list of strings, or one string as a list of one.
func Texts(raw json.RawMessage) ([]string, error) {
	if len(raw) > 0 && raw[0] == '"' {
		s, err := Text(raw)
		return []string{s}, err
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || list == nil {
		return nil, ErrNotTexts
	}
	texts := make([]string, len(list))
	for i, item := range list {
		if item[0] != '"' {
			return nil, ErrNotTexts
		}
		s, err := Text(item)
		if err != nil {
			return nil, err
		}
		texts[i] = s
	}
	return texts, nil
}

// maxSeconds is far beyond any date, and its time.Time still computes.
const maxSeconds = 1 << 40

// Seconds reads a moment as seconds since 1970, fractions allowed. What is
// earlier is 1970, what is absurdly late the year 36812, so neither wraps.
func Seconds(raw json.RawMessage) (time.Time, error) {
	var seconds *float64
	if json.Unmarshal(raw, &seconds) != nil || seconds == nil {
		return time.Time{}, ErrNotTime
	}
	s := min(max(*seconds, 0), maxSeconds)
	whole := int64(s)
	return time.Unix(whole, int64((s-float64(whole))*1e9)), nil
}
