package accesslog

import (
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"
)

// line is one that is being written.
type line struct {
	b    []byte
	json bool
	now  time.Time
}

const (
	textTime = "2006-01-02T15:04:05.000Z07:00" // slog's
	jsonTime = time.RFC3339Nano
)

func (l *line) begin(json bool, now time.Time, message, node string) {
	l.b, l.json, l.now = l.b[:0], json, now
	if json {
		l.b = append(now.AppendFormat(append(l.b, `{"time":"`...), jsonTime), `","level":"INFO","msg":"`...)
		l.b = append(append(l.b, message...), '"')
	} else {
		l.b = append(now.AppendFormat(append(l.b, "time="...), textTime), " level=INFO msg="...)
		l.b = append(l.b, message...)
	}
	optional(l, "node", node)
}

func (l *line) finish() {
	if l.json {
		l.b = append(l.b, '}')
	}
	l.b = append(l.b, '\n')
}

func (l *line) key(name string) {
	if l.json {
		l.b = append(append(append(l.b, `,"`...), name...), `":`...)
		return
	}
	l.b = append(append(append(l.b, ' '), name...), '=')
}

func (l *line) number(key string, n int64) {
	l.key(key)
	l.b = strconv.AppendInt(l.b, n, 10)
}

// millis writes milliseconds with the microseconds behind the point.
func (l *line) millis(key string, d time.Duration) {
	l.key(key)
	us := max(0, d.Microseconds())
	l.b = strconv.AppendInt(l.b, us/1000, 10)
	l.b = append(l.b, '.', byte('0'+us/100%10), byte('0'+us/10%10), byte('0'+us%10))
}

// address needs no escapes but for quotes around it.
func (l *line) address(key string, ip netip.Addr) {
	if ip.Zone() != "" { // may be any text
		text(l, key, ip.String())
		return
	}
	l.key(key)
	if !l.json {
		l.b = ip.AppendTo(l.b)
		return
	}
	l.b = append(ip.AppendTo(append(l.b, '"')), '"')
}

// optional writes a text unless it is empty.
func optional[T string | []byte](l *line, key string, value T) {
	if len(value) > 0 {
		text(l, key, value)
	}
}

// text writes what may come from anybody. Whatever it is, it ends neither its value
// nor its line.
func text[T string | []byte](l *line, key string, value T) {
	l.key(key)
	long := len(value) > longest
	if long {
		value = value[:longest]
	}
	switch plain := !long && isPlain(value); {
	case plain && l.json: // as nearly always
		l.b = append(append(append(l.b, '"'), value...), '"')
		return
	case plain && len(value) > 0:
		l.b = append(l.b, value...)
		return
	}
	l.b = append(l.b, '"')
	for i := 0; i < len(value); {
		if c := value[i]; c < utf8.RuneSelf {
			l.ascii(c)
			i++
			continue
		}
		part := value[i:min(len(value), i+utf8.UTFMax)]
		r, size := utf8.DecodeRuneInString(string(part))
		l.rune(r, size, value[i])
		i += size
	}
	if long {
		l.b = append(l.b, "…"...)
	}
	l.b = append(l.b, '"')
}

// isPlain says whether a text needs no quotes.
func isPlain[T string | []byte](value T) bool {
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\' {
			return false
		}
	}
	return true
}

const hexDigits = "0123456789abcdef"

func (l *line) ascii(c byte) {
	switch {
	case c == '"' || c == '\\':
		l.b = append(l.b, '\\', c)
	case c >= ' ' && c < 0x7f:
		l.b = append(l.b, c)
	default:
		l.b = append(l.b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
}

// rune writes one that is not ASCII, or the byte that begins none. Marks that turn the
// direction of writing, and the like, are escaped.
func (l *line) rune(r rune, size int, first byte) {
	switch {
	case r == utf8.RuneError && size == 1 && !l.json:
		l.b = append(l.b, '\\', 'x', hexDigits[first>>4], hexDigits[first&15])
	case r == utf8.RuneError && size == 1:
		l.b = append(l.b, `\ufffd`...)
	case strconv.IsPrint(r):
		l.b = utf8.AppendRune(l.b, r)
	case r < 1<<16:
		l.escape(r)
	case !l.json:
		l.b = append(l.b, `\U000`...)
		l.b = append(l.b, hexDigits[r>>16&15])
		l.hex(r)
	default:
		r -= 1 << 16 // as a pair of surrogates (RFC 8259 §7)
		l.escape(0xd800 + r>>10)
		l.escape(0xdc00 + r&0x3ff)
	}
}

func (l *line) escape(r rune) {
	l.b = append(l.b, '\\', 'u')
	l.hex(r)
}

func (l *line) hex(r rune) {
	l.b = append(l.b, hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}
