package http1

import "net/http"

// Response is a response head that says one thing only about its body.
type Response struct {
	// Minor is the version: HTTP/1.Minor, 0 or 1.
	Minor int
	// Status is 100 to 999.
	Status int
	// LineEnd is where the status line ends in the head, its CRLF included.
	LineEnd int
	// Fields are the header lines in order.
	Fields Fields
	// ContentLength is what the head says; -1 if absent.
	ContentLength int64
	// Chunked says the head has chunked transfer coding.
	Chunked bool
	// BindsConnection says that WWW-Authenticate names NTLM or Negotiate.
	BindsConnection bool
}

// ParseResponse reads head, which ends with its blank line (see [HeadLen]), into
// into, whose fields are reused. The error is an [*Error]; its status is no use
// here: a bad response is 502.
func ParseResponse(head []byte, into *Response) error {
	line, at, err := cutLine(head)
	if err != nil {
		return err
	}
	*into = Response{Fields: into.Fields[:0], ContentLength: -1, LineEnd: at}
	if err := into.parseLine(line); err != nil {
		return err
	}
	fields, fr, err := parseFields(head, at, maxResponseLines, into.Fields)
	into.Fields = fields
	if err == nil {
		err = fr.check(into.Minor)
	}
	if err != nil {
		return err
	}
	into.ContentLength, into.Chunked, into.BindsConnection = fr.length, fr.chunked, fr.binds
	return nil
}

// parseLine reads version SP status SP reason; the reason may be missing with its
// space, as from many servers.
func (r *Response) parseLine(line []byte) error {
	const prefix = len("HTTP/1.1 200")
	if len(line) < prefix || !isFieldText(line) || line[8] != ' ' || len(line) > prefix && line[prefix] != ' ' {
		return ErrStatusLine
	}
	minor, err := parseVersion(line[:8])
	if err != nil {
		return ErrStatusLine
	}
	r.Minor = minor
	for _, c := range line[9:prefix] {
		if !isDigit(c) {
			return ErrStatusLine
		}
		r.Status = r.Status*10 + int(c-'0')
	}
	if r.Status < 100 {
		return ErrStatusLine
	}
	return nil
}

// Interim says that another head follows: 1xx but 101.
func (r *Response) Interim() bool {
	return r.Status < 200 && r.Status != http.StatusSwitchingProtocols
}

// Bodyless says that no body follows whatever the head says: 1xx, 204, 304
// (RFC 9112 §6.3). A response to HEAD has none either.
func (r *Response) Bodyless() bool {
	return r.Status < 200 || r.Status == http.StatusNoContent || r.Status == http.StatusNotModified
}
