package proxy

import (
	"errors"
	"time"

	"github.com/pushcart/pushcart/internal/accesslog"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/requestid"
)

// outcome is what became of a request.
type outcome struct {
	status int
	broke  string        // how it ended before its end, of those of accesslog
	sent   int64         // bytes to the client
	waited time.Duration // from the request's head to the response's; 0: none came
}

// count notes the status of the answer.
func (c *clientConn) count(status int) {
	c.status = status
	c.s.count(status)
}

// brokeOff notes that a request did not come to its end.
func (c *clientConn) brokeOff(why error) {
	switch {
	case c.s.stopping.Load():
		c.broke = accesslog.Cut
	case errors.Is(why, errClientGone):
		c.broke = accesslog.ClientGone
	default:
		c.broke = accesslog.BackendBroke
	}
}

// identify names the request, as a trusted front did or anew, and begins its line of
// the access log, where somebody asks for either. The bytes of the head give way to the
// body, so what the line needs of it is copied.
func (c *clientConn) identify(e *exchange, from *clientaddr.Origin) {
	logs := c.set.access != nil
	if !logs && !c.s.backend.RequestID {
		return
	}
	r := &e.req
	if c.trusted {
		if id := r.Get(requestid.Header); requestid.Good(id) {
			e.id = append(e.id, id...)
		}
	}
	if len(e.id) == 0 {
		e.id = requestid.Append(e.id, e.begin)
	}
	if !logs {
		return
	}
	e.entry.Kind, e.entry.Begin, e.entry.IP = accesslog.Request, e.begin, from.IP
	e.entry.ID, e.entry.Method, e.entry.Path, e.entry.Query, e.entry.HasQuery = e.id, r.Method, r.Path, r.Query, r.HasQuery
	if e.entry.Host = r.Host; c.trusted {
		e.entry.Host = []byte(from.PublicHost())
	}
	e.entry.Keep()
	if asks(r) != noUpgrade {
		from.RequestID = string(e.id)
	}
}

// logRequest writes the line of a request that is over.
func (c *clientConn) logRequest(e *exchange) {
	if e.entry.Kind == "" {
		return
	}
	e.entry.Status, e.entry.End, e.entry.Backend = c.status, c.broke, c.waited
	e.entry.In, e.entry.Out = c.src.taken, c.sent
	if c.status == 0 && c.broke == "" {
		e.entry.End = accesslog.Cut
	}
	c.set.access.Write(&e.entry)
}

// logUnread writes the line of what was answered and could not be read.
func (c *clientConn) logUnread() {
	if c.set.access == nil || c.status == 0 {
		return
	}
	c.set.access.Write(&accesslog.Entry{
		Kind: accesslog.Request, Begin: time.Now(), ID: requestid.Append(nil, time.Now()), IP: c.peer,
		Status: c.status, End: c.broke, In: int64(len(c.src.unread())), Out: c.sent,
	})
}
