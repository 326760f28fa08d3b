package json

import (
	"strconv"
	"time"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/plainjson"
)

// appendPresencePage appends a page of a channel's members.
func appendPresencePage(b []byte, p *hub.PresencePage) []byte {
	b = appendMembers(b, p.Page)
	b = strconv.AppendInt(appendName(b, "total"), int64(p.Total), 10)
	if n := len(p.Page); p.More && n > 0 {
		b = appendText(b, "next", p.Page[n-1].User)
	}
	return b
}

// appendMembers appends users as presence shows them.
func appendMembers(b []byte, members []hub.Present) []byte {
	b = append(appendName(b, "users"), '[')
	for i := range members {
		m := &members[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = plainjson.AppendString(append(b, `{"user_id":`...), m.User)
		b = strconv.AppendInt(appendName(b, "connections"), int64(m.Connections), 10)
		b = appendTime(b, "since", time.UnixMilli(m.Since))
		b = append(appendInfo(b, m.Info), '}')
	}
	return append(b, ']')
}

// appendInfo appends what a user's connection says of itself, if anything.
func appendInfo(b, info []byte) []byte {
	if len(info) == 0 {
		return b
	}
	return append(appendName(b, "info"), info...)
}

// appendMove appends join or leave.
func appendMove(b []byte, kind string, m *hub.Message) []byte {
	b = append(append(append(b, `{"type":"`...), kind...), '"')
	b = appendText(b, "channel", m.Channel())
	b = appendText(b, "user_id", m.Presence.User)
	return append(appendInfo(b, m.Presence.Info), '}')
}

// appendPaused says whether joins and leaves are told from now on, and who is there then.
func appendPaused(b []byte, m *hub.Message) []byte {
	b = appendText(append(b, `{"type":"presence"`...), "channel", m.Channel())
	b = strconv.AppendBool(appendName(b, "paused"), m.Kind == hub.Paused)
	if m.Kind == hub.Resumed {
		b = appendMembers(b, m.Presence.Members)
	}
	return append(b, '}')
}
