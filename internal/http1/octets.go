package http1

import "encoding/binary"

// octet classes of RFC 9110 and 3986.
const (
	isToken  = 1 << iota // tchar
	isText               // field-value: VCHAR, SP, HTAB, obs-text
	isTarget             // no control character, no space
	isHost               // reg-name, IP-literal, port; no userinfo, no comma
)

var classes = buildClasses()

func buildClasses() (t [256]byte) {
	for c := range 256 {
		ctl := c < 0x20 || c == 0x7f
		if !ctl || c == '\t' {
			t[c] |= isText
		}
		if !ctl && c != ' ' {
			t[c] |= isTarget
		}
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if alnum {
			t[c] |= isToken | isHost
		}
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] |= isToken
	}
	for _, c := range "-._~%!$&'()*+;=:[]" {
		t[c] |= isHost
	}
	return t
}

func all(b []byte, class byte) bool {
	for _, c := range b {
		if classes[c]&class == 0 {
			return false
		}
	}
	return true
}

// IsToken says whether b is a token of RFC 9110 §5.6.2.
func IsToken(b []byte) bool { return len(b) > 0 && all(b, isToken) }

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// isFieldText says whether b may be a field value. Eight bytes are looked at in
// one step; only where one of them may be below 0x20 or 0x7f they are looked at
// singly.
func isFieldText(b []byte) bool {
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ 0x7f*ones
		if ((x-0x20*ones)&^x|(del-ones)&^del)&highs != 0 && !all(b[:8], isText) {
			return false
		}
		b = b[8:]
	}
	return all(b, isText)
}

// EqualFold compares ASCII without case.
func EqualFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		if lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
