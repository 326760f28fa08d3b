package jsonread

import (
	"bytes"
	"fmt"
	"strconv"
)

// Fault is what is wrong with a document.
type Fault struct {
	// Field is the path of what is wrong, "" for the document as a whole, and Problem
	// says what.
	Field, Problem string
}

// In puts the path of the value around before the field. It may be called on nil.
func (f *Fault) In(path string) *Fault {
	if f != nil && f.Field != "" {
		f.Field = path + f.Field
	}
	return f
}

// Reader reads a document, value by value. What it returns aliases the document, where
// it can.
type Reader struct {
	b    []byte
	i    int
	deep int
}

// New returns a reader of b, which must be UTF-8. Its values may be nested deep times.
func New(b []byte, deep int) *Reader { return &Reader{b: b, deep: deep} }

func (r *Reader) broken() *Fault {
	if r.i >= len(r.b) {
		return &Fault{Problem: "not JSON: it ends too early"}
	}
	return &Fault{Problem: "not JSON at byte " + strconv.Itoa(r.i+1)}
}

func (r *Reader) space() {
	for r.i < len(r.b) {
		switch r.b[r.i] {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return
		}
	}
}

// Next is the first byte of what comes, 0 at the end.
func (r *Reader) Next() byte {
	r.space()
	if r.i < len(r.b) {
		return r.b[r.i]
	}
	return 0
}

// skipByte says whether c came next, and takes it.
func (r *Reader) skipByte(c byte) bool {
	if r.Next() != c {
		return false
	}
	r.i++
	return true
}

// End says what is wrong if anything more comes.
func (r *Reader) End() *Fault {
	if r.Next() != 0 || r.i < len(r.b) {
		return &Fault{Problem: "more than one JSON value"}
	}
	return nil
}

// Null takes a null if one comes.
func (r *Reader) Null() bool {
	r.space()
	if bytes.HasPrefix(r.b[r.i:], []byte("null")) {
		r.i += len("null")
		return true
	}
	return false
}

// Object reads an object; each is called before each value and must take it. name
// is the object's field, "" for the document itself.
func (r *Reader) Object(name string, each func(key []byte) *Fault) *Fault {
	if c := r.Next(); c != '{' {
		return r.Unexpected(name, "an object")
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

// Array reads an array; each is called before each value and must take it.
func (r *Reader) Array(name string, each func(i int) *Fault) *Fault {
	if c := r.Next(); c != '[' {
		return r.Unexpected(name, "an array")
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

// Unexpected is the fault that a value of another type came than want, or none at all.
func (r *Reader) Unexpected(field, want string) *Fault {
	at := *r
	if _, err := r.Value(); err != nil {
		return err
	}
	if field == "" {
		return &Fault{Problem: fmt.Sprintf("must be %s, not %s", want, at.kind())}
	}
	return &Fault{Field: field, Problem: fmt.Sprintf("must be %s, not %s", want, at.kind())}
}

func (r *Reader) kind() string {
	switch r.Next() {
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

// Text reads a string. Half a surrogate pair becomes U+FFFD.
func (r *Reader) Text(field string) ([]byte, *Fault) {
	if r.Next() != '"' {
		return nil, r.Unexpected(field, "a string")
	}
	return r.rawString()
}

// Name reads a string or, where numbers may stand for one, a whole number as it is
// written, however large. path is asked for only where it is wrong.
func (r *Reader) Name(path func() string, numbers bool) ([]byte, *Fault) {
	switch c := r.Next(); {
	case c == '"':
		return r.rawString()
	case !numbers:
		return nil, r.Unexpected(path(), "a string")
	case c == '-' || '0' <= c && c <= '9':
		at := *r
		if b, f := r.Value(); f != nil || !bytes.ContainsAny(b, ".eE") {
			return b, f
		}
		*r = at
	}
	return nil, r.Unexpected(path(), "a string or a whole number")
}

// Bool reads true or false.
func (r *Reader) Bool(field string) (bool, *Fault) {
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
	return false, r.Unexpected(field, "true or false")
}
