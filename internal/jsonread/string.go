package jsonread

import (
	"unicode/utf16"
	"unicode/utf8"
)

// rawString reads a string at the cursor and resolves its escapes.
func (r *Reader) rawString() ([]byte, *Fault) {
	begin, escaped, err := r.scanString()
	if err != nil {
		return nil, err
	}
	s := r.b[begin : r.i-1]
	if escaped {
		text, _ := Unescape(s)
		return text, nil
	}
	return s, nil
}

// scanString moves past a string at the cursor.
func (r *Reader) scanString() (begin int, escaped bool, err *Fault) {
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

func (r *Reader) scanEscape() bool {
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

// Unescape resolves the escapes of what stands between the quotes of a string that was
// read. Half a surrogate pair becomes U+FFFD, and whole is false.
func Unescape(s []byte) (text []byte, whole bool) {
	whole = true
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
				} else {
					whole = false
				}
			}
			out = utf8.AppendRune(out, c)
		default:
			out = append(out, s[i])
		}
	}
	return out, whole
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
