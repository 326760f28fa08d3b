package accesslog

import (
	"net/netip"
	"time"
)

// Kinds of entries: the messages of their lines.
const (
	Request   = "request"
	Handshake = "handshake"
	Push      = "push"
)

// Ends of what did not come to its end.
const (
	// ClientGone: the client went away before it had all.
	ClientGone = "client_gone"
	// BackendBroke: the backend's response broke off.
	BackendBroke = "backend_broke"
	// Cut: the sidecar ended it, as it stops or because of a fault of its own.
	Cut = "cut"
)

// Entry is what a line says. What is zero is left out, but for the status.
type Entry struct {
	// Kind is one of the kinds.
	Kind string
	// Begin is when it came.
	Begin time.Time
	// ID is the request's.
	ID []byte
	// IP is the client's address.
	IP netip.Addr
	// Method, Host, Path and Query are the request's, as it has them.
	Method, Host, Path, Query []byte
	// HasQuery tells an empty query from none.
	HasQuery bool
	// Status was sent, 0: none.
	Status int
	// End is one of the ends; "" where it came to its end.
	End string
	// In and Out are bytes from and to the client.
	In, Out int64
	// Backend is how long the backend took to answer.
	Backend time.Duration
	// Connection and User are those of a handshake that was let in.
	Connection, User string

	kept []byte
}

// longest is how much of a path or query is kept and written, in bytes.
const longest = 2048

// Keep copies what ID, Method, Host, Path and Query point to.
func (e *Entry) Keep() {
	e.kept = e.kept[:0]
	for _, part := range []*[]byte{&e.ID, &e.Method, &e.Host, &e.Path, &e.Query} {
		from, p := len(e.kept), *part
		e.kept = append(e.kept, p[:min(len(p), longest+1)]...)
		*part = e.kept[from:len(e.kept):len(e.kept)]
	}
}

// Reset empties the entry; the memory of Keep stays for the next.
func (e *Entry) Reset() {
	kept := e.kept
	*e = Entry{}
	e.kept = kept[:0]
}
