package push

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/strictjson"
)

// maxDepth is how deep JSON may be nested, as in encoding/json.
const maxDepth = 10000

// fault is what is wrong with a request's body.
type fault struct {
	field, problem string // no field: the body as a whole
}

// in puts the path of the value around before the field.
func (f *fault) in(path string) *fault {
	if f != nil && f.field != "" {
		f.field = path + f.field
	}
	return f
}

func (f *fault) asError() *apierror.Error {
	if f.field == "" {
		return apierror.New(apierror.InvalidArgument, "body: "+f.problem)
	}
	return apierror.Invalid(f.field, f.problem)
}

// jsonReader reads the body of a request: JSON as RFC 8259 has it, names of
// fields as they are written here and none twice. It is stricter than
// encoding/json and does not copy: what it returns aliases b, where it can. b must
// be UTF-8.
type jsonReader struct {
	b []byte
	i int
}

// newJSONReader checks what concerns the body as a whole.
func newJSONReader(body []byte) (*jsonReader, *fault) {
	if !utf8.Valid(body) {
		return nil, &fault{problem: "not UTF-8"}
	}
	return &jsonReader{b: strictjson.TrimBOM(body)}, nil
}

func (r *jsonReader) broken() *fault {
	if r.i >= len(r.b) {
		return &fault{problem: "not JSON: it ends too early"}
	}
	return &fault{problem: "not JSON at byte " + strconv.Itoa(r.i+1)}
}

func (r *jsonReader) space() {
	for r.i < len(r.b) {
		switch r.b[r.i] {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return
		}
	}
}

// next is the first byte of what comes, 0 at the end.
func (r *jsonReader) next() byte {
	r.space()
	if r.i < len(r.b) {
		return r.b[r.i]
	}
	return 0
}

// skipByte says whether c came next, and takes it.
func (r *jsonReader) skipByte(c byte) bool {
	if r.next() != c {
		return false
	}
	r.i++
	return true
}

// end: nothing more must come.
func (r *jsonReader) end() *fault {
	if r.next() != 0 || r.i < len(r.b) {
		return &fault{problem: "more than one JSON value"}
	}
	return nil
}

// null takes a null if one comes.
func (r *jsonReader) null() bool {
	r.space()
	if bytes.HasPrefix(r.b[r.i:], []byte("null")) {
		r.i += len("null")
		return true
	}
	return false
}

// object reads an object; each is called before each value and must take it. name
// is the object's field, "" for the body itself.
func (r *jsonReader) object(name string, each func(key []byte) *fault) *fault {
	if c := r.next(); c != '{' {
		return r.unexpected(name, "an object")
	}
	r.i++
	if r.skipByte('}') {
		return nil
	}
	for {
		r.space()
		key, err := r.rawString()
		if err != nil {
			return err
		}
		if !r.skipByte(':') {
			return r.broken()
		}
		if err := each(key); err != nil {
			return err
		}
		switch {
		case r.skipByte(','):
		case r.skipByte('}'):
			return nil
		default:
			return r.broken()
		}
	}
}

// array reads an array; each is called before each value and must take it.
func (r *jsonReader) array(name string, each func(i int) *fault) *fault {
	if c := r.next(); c != '[' {
		return r.unexpected(name, "an array")
	}
	r.i++
	if r.skipByte(']') {
		return nil
	}
	for i := 0; ; i++ {
		if err := each(i); err != nil {
			return err
		}
		switch {
		case r.skipByte(','):
		case r.skipByte(']'):
			return nil
		default:
			return r.broken()
		}
	}
}

// unexpected: a value of another type came, or none at all.
func (r *jsonReader) unexpected(field, want string) *fault {
	at := *r
	if _, err := r.value(); err != nil {
		return err
	}
	if field == "" {
		return &fault{problem: fmt.Sprintf("must be %s, not %s", want, at.kind())}
	}
	return &fault{field: field, problem: fmt.Sprintf("must be %s, not %s", want, at.kind())}
}

func (r *jsonReader) kind() string {
	switch r.next() {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// text reads a string.
func (r *jsonReader) text(field string) ([]byte, *fault) {
	if r.next() != '"' {
		return nil, r.unexpected(field, "a string")
	}
	return r.rawString()
}

// name reads a string or, where numbers may stand for one, a whole number as it is
// written, however large. path is asked for only where it is wrong.
func (r *jsonReader) name(path func() string, numbers bool) ([]byte, *fault) {
	switch c := r.next(); {
	case c == '"':
		return r.rawString()
	case !numbers:
		return nil, r.unexpected(path(), "a string")
	case c == '-' || '0' <= c && c <= '9':
		at := *r
		if b, f := r.value(); f != nil || !bytes.ContainsAny(b, ".eE") {
			return b, f
		}
		*r = at
	}
	return nil, r.unexpected(path(), "a string or a whole number")
}

func (r *jsonReader) boolean(field string) (bool, *fault) {
	r.space()
	rest := r.b[r.i:]
	switch {
	case bytes.HasPrefix(rest, []byte("true")):
		r.i += len("true")
		return true, nil
	case bytes.HasPrefix(rest, []byte("false")):
		r.i += len("false")
		return false, nil
	}
	return false, r.unexpected(field, "true or false")
}

// rawString reads a string at the cursor and resolves its escapes.
func (r *jsonReader) rawString() ([]byte, *fault) {
	begin, escaped, err := r.scanString()
	if err != nil {
		return nil, err
	}
	s := r.b[begin : r.i-1]
	if escaped {
		return unescape(s), nil
	}
	return s, nil
}

// scanString moves past a string at the cursor.
func (r *jsonReader) scanString() (begin int, escaped bool, err *fault) {
	if r.i >= len(r.b) || r.b[r.i] != '"' {
		return 0, false, r.broken()
	}
	r.i++
	begin = r.i
	for r.i < len(r.b) {
		switch c := r.b[r.i]; {
		case c == '"':
			r.i++
			return begin, escaped, nil
		case c == '\\':
			escaped = true
			if !r.scanEscape() {
				return 0, false, r.broken()
			}
		case c < ' ':
			return 0, false, r.broken()
		default:
			r.i++
		}
	}
	return 0, false, r.broken()
}

func (r *jsonReader) scanEscape() bool {
	r.i++
	if r.i >= len(r.b) {
		return false
	}
	switch r.b[r.i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		r.i++
		return true
	case 'u':
		for range 4 {
			r.i++
			if r.i >= len(r.b) || !isHex(r.b[r.i]) {
				return false
			}
		}
		r.i++
		return true
	}
	return false
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// unescape resolves the escapes of a string that was scanned. Half a surrogate
// pair becomes U+FFFD.
func unescape(s []byte) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			c := hex4(s[i+1:])
			i += 4
			if utf16.IsSurrogate(c) {
				low := rune(0)
				if len(s) > i+6 && s[i+1] == '\\' && s[i+2] == 'u' {
					low = hex4(s[i+3:])
				}
				if c = utf16.DecodeRune(c, low); c != utf8.RuneError {
					i += 6
				}
			}
			out = utf8.AppendRune(out, c)
		default:
			out = append(out, s[i])
		}
	}
	return out
}

func hex4(s []byte) (r rune) {
	for _, c := range s[:4] {
		r <<= 4
		switch {
		case c <= '9':
			r |= rune(c - '0')
		default:
			r |= rune(c|0x20-'a') + 10
		}
	}
	return r
}

// appendJSONString appends s, which is UTF-8, as a JSON string.
func appendJSONString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, err := json.Marshal(s)
			if err != nil { // a string: cannot happen
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
