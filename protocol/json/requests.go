package json

import (
	stdjson "encoding/json"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/plainjson"
	"github.com/pushcart/pushcart/internal/strictjson"
	"github.com/pushcart/pushcart/protocol"
	"github.com/pushcart/pushcart/session"
)

// kinds are all types of what clients send.
var kinds = []kind{
	{"subscribe", (*frame).readSubscribe, (*conversation).subscribe, []key{keyID, keyChannel, keyPosition, keyRecent, keyToken}, []key{keyChannel}},
	{"unsubscribe", (*frame).readTarget, (*conversation).unsubscribe, []key{keyID, keyChannel}, []key{keyChannel}},
	{"publish", (*frame).readPublish, (*conversation).publish, []key{keyID, keyChannel, keyUser, keyEvent, keyData}, []key{keyData}},
	{"message", (*frame).readMessage, (*conversation).message, []key{keyID, keyEvent, keyData, keyBase64}, nil},
	{"presence", (*frame).readPresence, (*conversation).presence, []key{keyID, keyChannel, keyCursor}, []key{keyChannel}},
	{"history", (*frame).readHistory, (*conversation).history, []key{keyID, keyChannel, keyAfter, keyLimit}, []key{keyChannel}},
	{"recover", (*frame).readRecover, (*conversation).recover, []key{keyID, keyPosition}, []key{keyPosition}},
	{"refresh", (*frame).readToken, (*conversation).refresh, []key{keyID, keyToken}, []key{keyToken}},
	{"ack", (*frame).readAck, (*conversation).ack, []key{keyMessage}, []key{keyMessage}},
	{"ping", nil, (*conversation).ping, []key{keyID}, nil},
}

// answer says what came of a request: an error in any case, an ok where it has an id.
func (c *conversation) answer(id []byte, err *apierror.Error, more func(b []byte) []byte) {
	switch {
	case err != nil:
		c.write(errorFrame(id, err.Code, err.Message))
	case id != nil:
		b := okFrame(id)
		if more != nil {
			b = more(b)
		}
		c.write(append(b, '}'))
	}
}

func (c *conversation) subscribe(f *frame) {
	q := session.Subscription{Channel: f.channel, From: hub.Start{After: f.position, Recent: f.count}, Token: f.token}
	c.e.Subscribe(c.s, c.t, q, func(got hub.Followed, err *apierror.Error) {
		c.answer(f.id, err, func(b []byte) []byte {
			return appendFollowed(appendText(b, "channel", f.channel), got, f.position != nil)
		})
	})
}

func appendFollowed(b []byte, got hub.Followed, recovered bool) []byte {
	b = appendPosition(b, got.Position)
	if recovered {
		b = strconv.AppendBool(appendName(b, "recovered"), got.Recovered)
	}
	return b
}

func (c *conversation) unsubscribe(f *frame) {
	c.e.Unsubscribe(c.s, c.t, f.channel, func() { c.answer(f.id, nil, nil) })
}

func (c *conversation) publish(f *frame) {
	p := session.Publication{Channel: f.channel, User: f.user, Event: f.event, Data: f.data}
	c.e.Publish(c.s, c.t, p, func(at hub.Position, err *apierror.Error) {
		c.answer(f.id, err, func(b []byte) []byte { return appendPosition(b, at) })
	})
}

func (c *conversation) message(f *frame) {
	m := session.Message{Event: f.event, Data: f.data, Binary: f.binary}
	c.e.Request(c.s, c.t, m, func(a session.Answer, err *apierror.Error) {
		switch {
		case err != nil:
			c.answer(f.id, err, nil)
		case a.Status == http.StatusGone:
			c.t.End(&hub.Cause{Why: hub.Dismissed})
		case a.Status/100 == 4:
			c.answer(f.id, apierror.New(apierror.Rejected, "the backend answered "+strconv.Itoa(a.Status)), nil)
		case a.Status != http.StatusOK || len(a.Body) == 0:
			c.answer(f.id, nil, nil)
		default:
			c.reply(f.id, &a)
		}
	})
}

// reply passes the backend's answer on.
func (c *conversation) reply(id []byte, a *session.Answer) {
	b := appendID(append(make([]byte, 0, 64+len(id)+len(a.Body)*4/3), `{"type":"reply"`...), id)
	switch {
	case protocol.IsJSON(a.ContentType):
		body := strictjson.TrimBOM(a.Body)
		if !stdjson.Valid(body) || !utf8.Valid(body) {
			c.answer(id, c.e.BadReply(), nil)
			return
		}
		b = append(appendName(b, "data"), body...)
	case protocol.IsText(a.ContentType) && utf8.Valid(a.Body):
		b = plainjson.AppendString(appendName(b, "data"), a.Body)
	default:
		if a.ContentType != "" && protocol.IsText(a.ContentType) {
			c.e.ReportInvalidText()
		}
		b = appendBase64(b, a.Body)
	}
	c.write(append(b, '}'))
}

func (c *conversation) presence(f *frame) {
	c.e.Presence(c.s, c.t, f.channel, f.cursor, func(p hub.PresencePage, err *apierror.Error) {
		c.answer(f.id, err, func(b []byte) []byte { return appendPresencePage(b, &p) })
	})
}

func (c *conversation) history(f *frame) {
	c.e.History(c.s, c.t, f.channel, f.position, f.count, func(p session.Page, err *apierror.Error) {
		c.answer(f.id, err, func(b []byte) []byte { return appendPage(b, f.channel, &p) })
	})
}

// appendPage appends as much of a page as there is room for, and one message at least.
func appendPage(b []byte, channel string, p *session.Page) []byte {
	more := p.More
	b = append(appendName(b, "messages"), '[')
	for i := range p.Messages {
		m := &p.Messages[i]
		c := content{
			kind: m.Kind, data: m.Data, id: m.ID, channel: channel, event: m.Event, from: m.From,
			at: m.Position, epoch: true, accepted: m.Accepted,
		}
		before := len(b)
		if i > 0 {
			b = append(b, ',')
		}
		if b = c.append(b); i > 0 && len(b) > p.Room {
			b, more = b[:before], true
			break
		}
	}
	b = appendPosition(append(b, ']'), p.Position)
	if more {
		b = append(b, `,"more":true`...)
	}
	return b
}

func (c *conversation) recover(f *frame) {
	c.e.Recover(c.s, c.t, *f.position, func(got hub.Followed, err *apierror.Error) {
		c.answer(f.id, err, func(b []byte) []byte { return appendFollowed(b, got, true) })
	})
}

func (c *conversation) refresh(f *frame) {
	c.e.Refresh(c.s, c.t, f.token, func(expires time.Time, err *apierror.Error) {
		c.answer(f.id, err, func(b []byte) []byte {
			if expires.IsZero() { // never
				return b
			}
			return strconv.AppendInt(appendName(b, "expires_at"), expires.Unix(), 10)
		})
	})
}

func (c *conversation) ack(f *frame) { c.e.Acknowledge(c.s, f.message) }

func (c *conversation) ping(f *frame) { c.write(append(appendID([]byte(`{"type":"pong"`), f.id), '}')) }
