package http1

import (
	"bytes"
	"iter"
	"strings"
)

// Field is one header line. Name and Value alias the head's bytes; Value has no
// surrounding white space.
type Field struct {
	Name, Value []byte
	// Start and End are where the whole line is in the head, its CRLF included.
	Start, End int
	// Kind tells the names that an intermediary has to know.
	Kind Kind
}

// Kind is a header name that an intermediary treats in its own way.
type Kind uint8

// The kinds. Every other name is Ordinary.
const (
	Ordinary Kind = iota
	Host
	Connection
	ContentLength
	TransferEncoding
	Upgrade
	TE
	Expect
	KeepAlive
	ProxyConnection
	ProxyAuthenticate
	ProxyAuthorization
	Authorization
	WWWAuthenticate
	WebSocketKey
	FramingTwin   // Content-Length and Transfer-Encoding with "_" in place of "-"
	XForwardedFor // these with "_" in place of "-" too
	XForwardedProto
	XForwardedHost
	XRequestID
)

// kindOf looks at the length first: most names are decided by it.
func kindOf(name []byte) Kind {
	is, kind := candidate(name)
	if kind == Ordinary {
		return Ordinary
	}
	switch {
	case EqualFold(name, is):
		return kind
	case kind == ContentLength || kind == TransferEncoding:
		if equalLoosely(name, is) {
			return FramingTwin
		}
	case kind >= XForwardedFor && equalLoosely(name, is):
		return kind
	}
	return Ordinary
}

// candidate is the only name of ours that a name may be, by its length and first
// letter; "" for none.
func candidate(name []byte) (is string, kind Kind) {
	switch len(name) {
	case 2:
		return "te", TE
	case 4:
		return "host", Host
	case 6:
		return "expect", Expect
	case 7:
		return "upgrade", Upgrade
	case 10:
		if lower(name[0]) == 'k' {
			return "keep-alive", KeepAlive
		}
		return "connection", Connection
	case 12:
		return "x-request-id", XRequestID
	case 13:
		return "authorization", Authorization
	case 14:
		return "content-length", ContentLength
	case 15:
		return "x-forwarded-for", XForwardedFor
	case 16:
		switch lower(name[0]) {
		case 'p':
			return "proxy-connection", ProxyConnection
		case 'w':
			return "www-authenticate", WWWAuthenticate
		}
		return "x-forwarded-host", XForwardedHost
	case 17:
		switch lower(name[0]) {
		case 't':
			return "transfer-encoding", TransferEncoding
		case 's':
			return "sec-websocket-key", WebSocketKey
		}
		return "x-forwarded-proto", XForwardedProto
	case 18:
		return "proxy-authenticate", ProxyAuthenticate
	case 19:
		return "proxy-authorization", ProxyAuthorization
	}
	return "", Ordinary
}

// equalLoosely is EqualFold for which "_" is "-", as for CGI and its heirs.
func equalLoosely(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		if c := lower(b[i]); c != s[i] && (c != '_' || s[i] != '-') {
			return false
		}
	}
	return true
}

// Fields are the header lines of a head, in order.
type Fields []Field

// Get returns the first value of the named header (any case), nil if absent.
func (fs Fields) Get(name string) []byte {
	for i := range fs {
		if EqualFold(fs[i].Name, name) {
			return fs[i].Value
		}
	}
	return nil
}

// HasToken says whether the comma-separated lists of the named header contain
// token, in any case.
func (fs Fields) HasToken(name, token string) bool {
	for i := range fs {
		if EqualFold(fs[i].Name, name) && listHas(fs[i].Value, token) {
			return true
		}
	}
	return false
}

// Contain says whether there is a header of kind.
func (fs Fields) Contain(kind Kind) bool {
	for i := range fs {
		if fs[i].Kind == kind {
			return true
		}
	}
	return false
}

// Has is HasToken for a header that has a kind.
func (fs Fields) Has(kind Kind, token string) bool {
	for i := range fs {
		if fs[i].Kind == kind && listHas(fs[i].Value, token) {
			return true
		}
	}
	return false
}

func listHas(list []byte, token string) bool {
	for len(list) > 0 {
		var item []byte
		item, list = NextItem(list)
		if EqualFold(item, token) {
			return true
		}
	}
	return false
}

// NextItem cuts the first item off a comma-separated list; it may be empty.
func NextItem(list []byte) (item, rest []byte) {
	if i := bytes.IndexByte(list, ','); i >= 0 {
		return trimSpace(list[:i]), list[i+1:]
	}
	return trimSpace(list), nil
}

// Items are the items of a comma-separated list, without empty ones.
func Items(list string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for item := range strings.SplitSeq(list, ",") {
			if item = strings.TrimSpace(item); item != "" && !yield(item) {
				return
			}
		}
	}
}

// framing is what a head says about the body after it, and about the connection.
type framing struct {
	length  int64
	chunked bool
	coding  error
	lengths int
	codings int
	hosts   int
	options int
	binds   bool
	key     bool
	passed  bool
}

// What a head may hold (SPEC §11): lines of a request and of a response, and options
// that Connection names.
const (
	maxRequestLines  = 128
	maxResponseLines = 512
	maxOptions       = 100
)

var comma = []byte(",")

// parseFields reads the header lines at the end of head, at most so many, from at on
// up to the blank line.
func parseFields(head []byte, at, most int, into Fields) (Fields, framing, error) {
	fr := framing{length: -1}
	for {
		line, n, err := cutLine(head[at:])
		if err != nil {
			return into, fr, err
		}
		if len(line) == 0 {
			if at+n != len(head) {
				return into, fr, ErrLineEnd
			}
			return into, fr, nil
		}
		if len(into) == most {
			return into, fr, ErrTooManyLines
		}
		name, value, err := parseField(line)
		if err != nil {
			return into, fr, err
		}
		f := Field{Name: name, Value: value, Start: at, End: at + n, Kind: kindOf(name)}
		if f.Kind != Ordinary {
			if err := fr.see(&f); err != nil {
				return into, fr, err
			}
		}
		into = append(into, f)
		at += n
	}
}

func parseField(line []byte) (name, value []byte, err error) {
	i := 0
	for i < len(line) && classes[line[i]]&isToken != 0 {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ':' {
		if line[0] == ' ' || line[0] == '\t' {
			return nil, nil, ErrFold
		}
		return nil, nil, ErrName
	}
	if !isFieldText(line[i+1:]) {
		return nil, nil, ErrControlByte
	}
	return line[:i], trimSpace(line[i+1:]), nil
}

func (fr *framing) see(f *Field) error {
	switch f.Kind {
	case Connection:
		if fr.options += 1 + bytes.Count(f.Value, comma); fr.options > maxOptions {
			return ErrOptions
		}
	case Host:
		fr.hosts++
	case ContentLength:
		fr.lengths++
		n, ok := parseLength(f.Value)
		if !ok {
			return ErrLength
		}
		fr.length = n
	case TransferEncoding:
		fr.codings++
		fr.coding = checkCoding(f.Value)
		fr.chunked = fr.coding == nil
	case Authorization, WWWAuthenticate:
		fr.binds = fr.binds || bindsConnection(f.Value)
	case WebSocketKey:
		fr.key = true
	case XForwardedFor, XForwardedProto, XForwardedHost:
		fr.passed = true
	}
	return nil
}

// bindsConnection says whether credentials or challenges name a scheme that
// authenticates the connection instead of the request (RFC 4559 §6). What a quoted
// string holds may be taken for one: to keep a connection private is never wrong.
func bindsConnection(list []byte) bool {
	for len(list) > 0 {
		var item []byte
		item, list = NextItem(list)
		end := 0
		for end < len(item) && classes[item[end]]&isToken != 0 {
			end++
		}
		if scheme := item[:end]; EqualFold(scheme, "ntlm") || EqualFold(scheme, "negotiate") {
			return true
		}
	}
	return false
}

// check applies RFC 9112 §6.3 as an intermediary that refuses all doubt.
func (fr *framing) check(minor int) error {
	switch {
	case fr.codings > 0 && fr.lengths > 0:
		return ErrLengthAndTE
	case fr.lengths > 1:
		return ErrTwoLengths
	case fr.codings > 1:
		return ErrCodingTwice
	case fr.codings > 0 && minor == 0:
		return ErrCodingInOld
	}
	return fr.coding
}

// checkCoding accepts "chunked" alone.
func checkCoding(value []byte) error {
	if EqualFold(value, "chunked") {
		return nil
	}
	chunked, isLast := 0, false
	for rest := value; len(rest) > 0; {
		var item []byte
		item, rest = NextItem(rest)
		if !IsToken(item) {
			return ErrCodingTwice
		}
		if isLast = EqualFold(item, "chunked"); isLast {
			chunked++
		}
	}
	if len(value) == 0 || chunked > 1 || chunked == 1 && !isLast {
		return ErrCodingTwice
	}
	return ErrUnknownCoding
}

// parseLength reads digits alone; what would overflow is refused, and a leading zero,
// which some readers take for octal.
func parseLength(v []byte) (int64, bool) {
	if len(v) == 0 || len(v) > 18 || len(v) > 1 && v[0] == '0' {
		return 0, false
	}
	n := int64(0)
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
