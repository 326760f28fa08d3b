package http1

import "bytes"

var blankLine = []byte("\r\n\r\n")

// HeadLen returns how many bytes of b are a complete head, the blank line
// included; 0 if more has to come. The first seen bytes were looked at before.
// It refuses as early as it can what cannot become a head, so that a peer that
// ends its lines in LF is told at once instead of waited for.
func HeadLen(b []byte, seen int) (int, error) {
	from := max(0, seen-len(blankLine)+1)
	if i := bytes.Index(b[from:], blankLine); i >= 0 {
		if n := from + i + len(blankLine); n <= MaxHead {
			return n, nil
		}
		return 0, ErrHeadTooLong
	}
	if err := checkLineEnds(b, seen); err != nil {
		return 0, err
	}
	if len(b) >= MaxHead {
		return 0, ErrHeadTooLong
	}
	return 0, nil
}

// checkLineEnds finds a bare LF, a bare CR or a NUL in an unfinished head.
func checkLineEnds(b []byte, seen int) error {
	for i := max(0, seen-1); i < len(b); i++ {
		switch b[i] {
		case 0:
			return ErrControlByte
		case '\n':
			if i == 0 || b[i-1] != '\r' {
				return ErrLineEnd
			}
		case '\r':
			if i+1 < len(b) && b[i+1] != '\n' {
				return ErrLineEnd
			}
		}
	}
	return nil
}

// EmptyLines returns how many bytes of blank lines b starts with. RFC 9112 §2.2
// asks to skip them before a request line.
func EmptyLines(b []byte) int {
	n := 0
	for n+1 < len(b) && b[n] == '\r' && b[n+1] == '\n' {
		n += 2
	}
	return n
}

// cutLine returns the first line of b without its CRLF, and how long it is with
// it. b holds at least one LF.
func cutLine(b []byte) (line []byte, n int, err error) {
	i := bytes.IndexByte(b, '\r')
	if lf := bytes.IndexByte(b[:i+1], '\n'); i < 0 || lf >= 0 || i+1 >= len(b) || b[i+1] != '\n' {
		return nil, 0, ErrLineEnd
	}
	return b[:i], i + 2, nil
}
