package accesslog

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// Options say what is written.
type Options struct {
	// Node is the id of the node.
	Node string
	// Errors leaves out what went well.
	Errors bool
	// JSON writes JSON instead of text.
	JSON bool
	// Query writes query strings.
	Query bool
	// Hide are names of query parameters with tokens; access_token always is one.
	Hide []string
}

// Log writes lines.
type Log struct {
	o  Options
	to io.Writer
}

// New returns a log that writes to w, one line at a time.
func New(w io.Writer, o Options) *Log {
	o.Hide = append([]string{"access_token"}, o.Hide...)
	return &Log{o: o, to: w}
}

var lines = sync.Pool{New: func() any { return new(line) }}

// Write writes the line of an entry that has just ended, if it is to be written.
func (l *Log) Write(e *Entry) {
	if l == nil || l.o.Errors && e.End == "" && e.Status < http.StatusBadRequest {
		return
	}
	b := lines.Get().(*line)
	b.begin(l.o.JSON, time.Now(), e.Kind, l.o.Node)
	l.describe(b, e)
	b.finish()
	_, _ = l.to.Write(b.b) // it never fails, and does not keep it
	lines.Put(b)
}

func (l *Log) describe(b *line, e *Entry) {
	optional(b, "request_id", e.ID)
	if e.IP.IsValid() {
		b.address("ip", e.IP)
	}
	optional(b, "method", e.Method)
	optional(b, "host", e.Host)
	optional(b, "path", e.Path)
	if e.HasQuery && l.o.Query {
		var room [512]byte
		text(b, "query", hide(room[:0], e.Query[:min(len(e.Query), longest+1)], l.o.Hide))
	}
	b.number("status", int64(e.Status))
	optional(b, "end", e.End)
	b.number("bytes_in", e.In)
	b.number("bytes_out", e.Out)
	b.millis("duration_ms", b.now.Sub(e.Begin))
	if e.Backend > 0 {
		b.millis("backend_ms", e.Backend)
	}
	optional(b, "conn", e.Connection)
	optional(b, "user", e.User)
}
