package http1

import "bytes"

// ParseRequest reads head, which ends with its blank line (see [HeadLen]), into
// into. The error is an [*Error]; into is then of no use. into's fields are
// reused, so that a kept Request costs no allocation.
func ParseRequest(head []byte, into *Request) error {
	line, at, err := cutLine(head)
	if err != nil {
		return err
	}
	*into = Request{Fields: into.Fields[:0], ContentLength: -1}
	if err := into.parseLine(line); err != nil {
		return err
	}
	fields, fr, err := parseFields(head, at, maxRequestLines, into.Fields)
	into.Fields = fields
	if err == nil {
		err = fr.check(into.Minor)
	}
	if err != nil {
		return err
	}
	into.ContentLength, into.Chunked = fr.length, fr.chunked
	into.BindsConnection, into.WebSocketKey, into.Forwarded = fr.binds, fr.key, fr.passed
	return into.checkHost(fr.hosts)
}

// parseLine reads method SP target SP version; one space each.
func (r *Request) parseLine(line []byte) error {
	if !isFieldText(line) {
		return ErrControlByte
	}
	i := bytes.IndexByte(line, ' ')
	j := bytes.LastIndexByte(line, ' ')
	if i <= 0 || j == i {
		return ErrRequestLine
	}
	r.Method, r.Target = line[:i], line[i+1:j]
	if !IsToken(r.Method) || len(r.Target) == 0 || !all(r.Target, isTarget) {
		return ErrRequestLine
	}
	minor, err := parseVersion(line[j+1:])
	if err != nil {
		return err
	}
	r.Minor = minor
	return r.splitTarget()
}

// parseVersion wants HTTP/1.0 or HTTP/1.1 exactly.
func parseVersion(v []byte) (int, error) {
	if len(v) != len("HTTP/1.1") || string(v[:5]) != "HTTP/" || v[6] != '.' || !isDigit(v[5]) || !isDigit(v[7]) {
		return 0, ErrRequestLine
	}
	if v[5] != '1' || v[7] > '1' {
		return 0, ErrVersion
	}
	return int(v[7] - '0'), nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// splitTarget tells the four forms of RFC 9112 §3.2 apart.
func (r *Request) splitTarget() error {
	t := r.Target
	switch {
	case string(r.Method) == "CONNECT":
		if !validAuthority(t) {
			return ErrTarget
		}
		r.Host = t
		return nil
	case t[0] == '/':
		r.splitQuery(t)
		return nil
	case len(t) == 1 && t[0] == '*':
		if string(r.Method) != "OPTIONS" {
			return ErrTarget
		}
		r.Path = t
		return nil
	}
	return r.splitAbsolute()
}

func (r *Request) splitQuery(t []byte) {
	r.Path = t
	if i := bytes.IndexByte(t, '?'); i >= 0 {
		r.Path, r.Query, r.HasQuery = t[:i], t[i+1:], true
	}
}

var (
	slash    = []byte("/")
	asterisk = []byte("*")
)

// splitAbsolute takes http:// and https:// targets apart.
func (r *Request) splitAbsolute() error {
	i := bytes.Index(r.Target, []byte("://"))
	if i < 0 || !EqualFold(r.Target[:i], "http") && !EqualFold(r.Target[:i], "https") {
		return ErrTarget
	}
	rest := r.Target[i+3:]
	end := bytes.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	r.Absolute, r.Host = true, rest[:end]
	if !validAuthority(r.Host) {
		return ErrTarget
	}
	r.splitQuery(rest[end:])
	if len(r.Path) > 0 && r.Path[0] == '/' {
		return nil
	}
	if len(r.Path) > 0 { // http://host#fragment
		return ErrTarget
	}
	r.Path = slash
	if string(r.Method) == "OPTIONS" && !r.HasQuery {
		r.Path = asterisk // RFC 9112 §3.2.4
	}
	return nil
}

// checkHost wants one Host in HTTP/1.1, and at most one in 1.0. The authority of
// the target, if it has one, is what counts (RFC 9112 §3.2.2).
func (r *Request) checkHost(hosts int) error {
	if hosts > 1 {
		return ErrTwoHosts
	}
	if hosts == 0 {
		if r.Minor == 1 {
			return ErrNoHost
		}
		return nil
	}
	for i := range r.Fields {
		if r.Fields[i].Kind == Host {
			if !validHost(r.Fields[i].Value) {
				return ErrHost
			}
			if r.Host == nil {
				r.Host = r.Fields[i].Value
			}
		}
	}
	return nil
}

// validAuthority is validHost for a target's. Of a percent-encoded name some readers
// decode the one in a target, and none the one in a Host that is made of it.
func validAuthority(h []byte) bool {
	return len(h) > 0 && validHost(h) && bytes.IndexByte(h, '%') < 0
}

// validHost accepts uri-host [":" port], and "" (RFC 9112 §3.2).
func validHost(h []byte) bool {
	if !all(h, isHost) {
		return false
	}
	port := -1
	if len(h) > 0 && h[0] == '[' {
		end := bytes.IndexByte(h, ']')
		if end < 2 || bytes.IndexByte(h[1:], '[') >= 0 || bytes.IndexByte(h[end+1:], ']') >= 0 {
			return false
		}
		if rest := h[end+1:]; len(rest) > 0 {
			if rest[0] != ':' {
				return false
			}
			port = end + 2
		}
	} else {
		if bytes.ContainsAny(h, "[]") {
			return false
		}
		if i := bytes.IndexByte(h, ':'); i >= 0 {
			port = i + 1
		}
	}
	if port < 0 {
		return true
	}
	for _, c := range h[port:] {
		if !isDigit(c) {
			return false
		}
	}
	return len(h)-port <= 5
}
