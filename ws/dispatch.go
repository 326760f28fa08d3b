package ws

import (
	"bytes"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pushcart/pushcart/webhook"
)

const (
	contentJSON   = "application/json"
	contentText   = "text/plain; charset=utf-8"
	contentBinary = "application/octet-stream"
)

// message takes a whole message of the client: it goes to the backend, and until
// that answered nothing more of this connection is read (SPEC §5 Order and
// back-pressure). p is not kept.
func (c *Conn) message(t *turn, op byte, p []byte) {
	if t.pongs != nil && c.srv.wants(webhook.Message) {
		c.pong(t)
	}
	if ev := c.asks(op, len(p)); ev != nil {
		c.ask(ev, bytes.Clone(p))
	} else {
		c.srv.unheard()
	}
}

// unheard logs the first message that nobody is asked about.
func (s *Server) unheard() {
	if s.deaf.Load() || s.wants(webhook.Message) || !s.deaf.CompareAndSwap(false, true) {
		return
	}
	s.quiet.Warn("unheard", "a client sent a message, but the backend is not asked: webhook.events does not name message",
		"setting", "webhook.url, webhook.events")
}

func (c *Conn) asks(op byte, size int) *webhook.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.messageLocked(op, size)
}

// messageLocked counts a message and makes the event that the backend is asked
// with; nil: nobody is asked.
func (c *Conn) messageLocked(op byte, size int) *webhook.Event {
	s := c.srv
	c.inFrames.Add(1)
	c.inBytes.Add(uint64(size))
	s.counts.messages.Add(1)
	if c.ended != nil {
		return nil
	}
	c.limitLocked()
	if !s.wants(webhook.Message) {
		c.sequence++
		return nil
	}
	c.busy = true
	ev := c.eventLocked(webhook.Message)
	ev.ContentType = contentText
	if op == opBinary {
		ev.ContentType = contentBinary
	}
	return ev
}

// compressed takes a whole message that has to be decompressed first; nothing
// more is read meanwhile. data is not the reader's any more.
func (c *Conn) compressed(t *turn, op byte, data []byte) {
	c.pong(t)
	if c.inflates() {
		c.srv.inflater.push(deflated{c: c, op: op, data: data})
	}
}

func (c *Conn) inflates() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := c.ended == nil
	c.busy = c.busy || wanted
	return wanted
}

// inflated goes on with what compressed began. p is the event's to keep.
func (c *Conn) inflated(op byte, p []byte, fault *ending) {
	if fault != nil {
		c.end(fault)
	}
	if ev := c.asksInflated(op, len(p), fault == nil); ev != nil {
		c.ask(ev, p)
	} else {
		c.srv.unheard()
	}
}

func (c *Conn) asksInflated(op byte, size int, good bool) (ev *webhook.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
	if good {
		ev = c.messageLocked(op, size)
	}
	if ev == nil {
		c.readOnLocked()
	}
	return ev
}

// limitLocked stops reading while the client is over limits.message_rate.
func (c *Conn) limitLocked() {
	if c.more == nil || c.more.limiter == nil {
		return
	}
	if wait := c.more.limiter.Reserve().Delay(); wait > 0 {
		c.held, c.more.wakeAt = true, c.loop.at(time.Now().Add(wait))
		c.loop.post(c)
	}
}

// eventLocked is the connection's next event.
func (c *Conn) eventLocked(name string) *webhook.Event {
	c.sequence++
	host := c.host.Value()
	ev := &webhook.Event{
		Source: webhook.Source{
			ConnectionID: c.member.ID(), UserID: c.member.User(),
			ForwardedFor: c.remoteIP().String(), Proto: "http",
			Host: host.asked, RequestHost: host.sent,
		},
		Name: name, Sequence: c.sequence,
	}
	if c.tls {
		ev.Proto = "https"
	}
	if m := c.more; m != nil {
		ev.State = m.state
		if m.forwardedFor != "" {
			ev.ForwardedFor = m.forwardedFor
		}
		if name == webhook.Message {
			ev.Header = m.header
		}
	}
	return ev
}

// answered does what the backend said to a message (SPEC §5). The dispatcher
// calls it from its own goroutine.
func (c *Conn) answered(a webhook.Answer, err error) {
	if err == nil && a.State != nil && a.Status/100 == 2 {
		c.SetState(a.State)
	}
	switch {
	case err != nil:
		c.end(endNoAnswer)
	case a.Status == http.StatusOK && len(a.Body) > 0:
		op := byte(opBinary)
		if isText(a.ContentType) && utf8.Valid(a.Body) {
			op = opText
		}
		c.reply(c.encode(op, a.Body))
	case a.Status == http.StatusGone:
		c.end(endRefused)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
	c.readOnLocked()
}

// readOnLocked is called when a message is done with.
func (c *Conn) readOnLocked() {
	if !c.held {
		c.seen.Store(uint32(c.loop.now())) // its pong deadline stood still
		c.resumeLocked()
	}
}

// resumeLocked goes on reading: first what was kept, then what comes.
func (c *Conn) resumeLocked() {
	if c.phase == phaseClosed || c.phase == phaseOpening || c.finIn {
		return
	}
	if c.rest {
		c.loop.post(c)
	}
	c.sock.wantRead(true)
}

// isText says which kind of frame a reply of this Content-Type is; without one
// it is text, as what a REST app says usually is.
func isText(contentType string) bool {
	t, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	t = strings.TrimSpace(t)
	switch {
	case t == "", strings.HasPrefix(t, "text/"):
		return true
	case strings.HasSuffix(t, "+json"), strings.HasSuffix(t, "+xml"):
		return true
	}
	return t == contentJSON || t == "application/xml" || t == "application/javascript" ||
		t == "application/x-www-form-urlencoded"
}
