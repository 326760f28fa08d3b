package jsonread

import "bytes"

// Value checks one JSON value of any kind and returns it as it stands.
func (r *Reader) Value() ([]byte, *Fault) {
	r.space()
	begin := r.i
	if err := r.skipValue(); err != nil {
		return nil, err
	}
	return r.b[begin:r.i], nil
}

// skipValue keeps the kinds of the open brackets on a stack of its own, so that
// deep nesting costs a byte a level.
func (r *Reader) skipValue() *Fault {
	var stack [64]byte
	open := stack[:0]
	for {
		closed, err := r.skipOne(&open)
		if err != nil {
			return err
		}
		if !closed {
			continue // an object or array was opened: its first value comes
		}
		for {
			if len(open) == 0 {
				return nil
			}
			object := open[len(open)-1] == '{'
			if r.skipByte(',') {
				if object && !r.skipKey() {
					return r.broken()
				}
				break
			}
			if !r.skipByte(open[len(open)-1] + 2) { // '[' + 2 is ']', '{' + 2 is '}'
				return r.broken()
			}
			open = open[:len(open)-1]
		}
	}
}

// skipOne skips a value that has no parts, or opens one that has; closed: the
// value is over.
func (r *Reader) skipOne(open *[]byte) (closed bool, err *Fault) {
	switch c := r.Next(); {
	case c == '{' || c == '[':
		if len(*open) == r.deep {
			return false, &Fault{Problem: "nested too deeply"}
		}
		r.i++
		if r.skipByte(c + 2) {
			return true, nil
		}
		*open = append(*open, c)
		if c == '{' && !r.skipKey() {
			return false, r.broken()
		}
		return false, nil
	case c == '"':
		_, _, err := r.scanString()
		return true, err
	case c == '-' || '0' <= c && c <= '9':
		return true, r.skipNumber()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(r.b[r.i:], []byte(word)) {
			r.i += len(word)
			return true, nil
		}
	}
	return false, r.broken()
}

// skipKey skips a name and the colon after it.
func (r *Reader) skipKey() bool {
	r.space()
	if _, _, err := r.scanString(); err != nil {
		return false
	}
	return r.skipByte(':')
}

// skipNumber follows the grammar of RFC 8259 §6.
func (r *Reader) skipNumber() *Fault {
	if r.at('-') {
		r.i++
	}
	switch {
	case r.at('0'):
		r.i++
	case !r.digits():
		return r.broken()
	}
	if r.at('.') {
		r.i++
		if !r.digits() {
			return r.broken()
		}
	}
	if r.at('e') || r.at('E') {
		r.i++
		if r.at('+') || r.at('-') {
			r.i++
		}
		if !r.digits() {
			return r.broken()
		}
	}
	return nil
}

func (r *Reader) at(c byte) bool { return r.i < len(r.b) && r.b[r.i] == c }

// digits skips digits and says whether there was one.
func (r *Reader) digits() bool {
	begin := r.i
	for r.i < len(r.b) && '0' <= r.b[r.i] && r.b[r.i] <= '9' {
		r.i++
	}
	return r.i > begin
}
