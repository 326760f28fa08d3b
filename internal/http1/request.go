package http1

// Request is a request head that passed every check of SPEC §7 and §11.
type Request struct {
	// Method and Target as sent.
	Method, Target []byte
	// Path is the target's raw path, without the query; never decoded or
	// cleaned. "*" for OPTIONS *; nil for CONNECT.
	Path []byte
	// Query is what follows the first '?', raw; HasQuery tells "" from none.
	Query    []byte
	HasQuery bool
	// Host is the Host header, or the authority of an absolute-form target.
	Host []byte
	// Absolute says the target was in absolute-form.
	Absolute bool
	// Minor is the version: HTTP/1.Minor, 0 or 1.
	Minor int
	// Fields are the header lines in order.
	Fields Fields
	// ContentLength is the body's length; -1 if absent.
	ContentLength int64
	// Chunked says the body has chunked transfer coding.
	Chunked bool
	// BindsConnection says that Authorization names NTLM or Negotiate, which
	// authenticate the connection instead of the request.
	BindsConnection bool
	// WebSocketKey says that there is a Sec-WebSocket-Key.
	WebSocketKey bool
	// Forwarded says that there is one of X-Forwarded-For, -Proto and -Host.
	Forwarded bool
}

// HeadLen is the length of the head that r was parsed from.
func (r *Request) HeadLen() int {
	if n := len(r.Fields); n > 0 {
		return r.Fields[n-1].End + len("\r\n")
	}
	return len(r.Method) + len(r.Target) + len("  HTTP/1.0\r\n\r\n")
}

// HasBody says whether bytes of a body follow the head.
func (r *Request) HasBody() bool { return r.Chunked || r.ContentLength > 0 }

// Get returns the first value of the named header (any case), nil if absent.
func (r *Request) Get(name string) []byte { return r.Fields.Get(name) }

// Count returns how many lines carry the named header.
func (r *Request) Count(name string) int {
	n := 0
	for i := range r.Fields {
		if EqualFold(r.Fields[i].Name, name) {
			n++
		}
	}
	return n
}

// Joined returns all values of the named header joined by ", " (RFC 9110 §5.2).
func (r *Request) Joined(name string) string {
	var out []byte
	found := false
	for i := range r.Fields {
		if !EqualFold(r.Fields[i].Name, name) {
			continue
		}
		if found {
			out = append(out, ", "...)
		}
		out, found = append(out, r.Fields[i].Value...), true
	}
	return string(out)
}

// HasToken says whether the comma-separated lists of the named header contain
// token, in any case.
func (r *Request) HasToken(name, token string) bool { return r.Fields.HasToken(name, token) }
