package ws

import "unicode/utf8"

// utf8Checker validates text that arrives in pieces, and finds an error at the
// first byte that cannot be right (RFC 6455 §8.1).
type utf8Checker struct {
	tail [utf8.UTFMax]byte // an unfinished character
	n    uint8
}

// feed takes the next piece; false: the text is not UTF-8.
func (u *utf8Checker) feed(p []byte) bool {
	for u.n > 0 && len(p) > 0 {
		u.tail[u.n] = p[0]
		u.n++
		p = p[1:]
		if !utf8.FullRune(u.tail[:u.n]) {
			continue
		}
		if _, size := utf8.DecodeRune(u.tail[:u.n]); size != int(u.n) {
			return false
		}
		u.n = 0
	}
	cut := len(p) - unfinished(p)
	if !utf8.Valid(p[:cut]) {
		return false
	}
	u.n += uint8(copy(u.tail[u.n:], p[cut:]))
	return true
}

// done says whether the text may end here.
func (u *utf8Checker) done() bool { return u.n == 0 }

// unfinished returns how many bytes at the end of p begin a character that p
// does not finish.
func unfinished(p []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(p); i++ {
		if !utf8.RuneStart(p[len(p)-i]) {
			continue
		}
		if utf8.FullRune(p[len(p)-i:]) {
			return 0
		}
		return i
	}
	return 0
}
