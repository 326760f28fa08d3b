package http1

// Field is one header line. Name and Value alias the head's bytes; Value has no
// surrounding white space.
type Field struct{ Name, Value []byte }

// Request is a request head that passed every check of SPEC §7 and §11.
type Request struct {
	// Method and Target as sent.
	Method, Target []byte
	// Path is the target's raw path in origin-form, without the query; never
	// decoded or cleaned. "*" for OPTIONS *.
	Path []byte
	// Query is what follows the first '?', raw; HasQuery tells "" from none.
	Query    []byte
	HasQuery bool
	// Host is the Host header, or the authority of an absolute-form target.
	Host []byte
	// Minor is the version: HTTP/1.Minor, 0 or 1.
	Minor int
	// Fields are the header lines in order.
	Fields []Field
	// ContentLength is the body's length; -1 if absent.
	ContentLength int64
	// Chunked says the body has chunked transfer coding.
	Chunked bool
}

// Get returns the first value of the named header (any case), nil if absent.
func (r *Request) Get(name string) []byte {
	for i := range r.Fields {
		if EqualFold(r.Fields[i].Name, name) {
			return r.Fields[i].Value
		}
	}
	return nil
}

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
func (r *Request) HasToken(name, token string) bool {
	for i := range r.Fields {
		if EqualFold(r.Fields[i].Name, name) && listHas(r.Fields[i].Value, token) {
			return true
		}
	}
	return false
}

func listHas(list []byte, token string) bool {
	for len(list) > 0 {
		item := list
		if i := indexByte(list, ','); i >= 0 {
			item, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		if EqualFold(trimSpace(item), token) {
			return true
		}
	}
	return false
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

func indexByte(b []byte, c byte) int {
	for i := range b {
		if b[i] == c {
			return i
		}
	}
	return -1
}
