package json

import (
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/plainjson"
	"github.com/pushcart/pushcart/session"
)

// Open begins with welcome, and the messages of the connect answer.
func (Protocol) Open(e *session.Engine, s *session.Session, o *session.Opening) []session.Frame {
	frames := []session.Frame{{Kind: hub.Text, Payload: welcome(s.Member(), e.Hub().NodeID(), e.PingInterval(), o)}}
	for _, m := range o.First {
		c := content{kind: hub.JSON, data: m, id: newID(), accepted: time.Now().UnixNano()}
		frames = append(frames, session.Frame{Kind: hub.Text, Payload: c.append(make([]byte, 0, c.room()))})
	}
	return frames
}

// newID names a message that no push did.
func newID() string {
	id, err := uuid.NewV7()
	if err != nil { // crypto/rand never fails
		id = uuid.New()
	}
	return id.String()
}

func welcome(m *hub.Member, node string, ping time.Duration, o *session.Opening) []byte {
	b := appendText([]byte(`{"type":"welcome"`), "connection_id", m.ID())
	b = plainjson.AppendString(appendName(b, "user_id"), m.User())
	b = appendText(b, "node_id", node)
	b = strconv.AppendFloat(appendName(b, "ping_interval"), ping.Seconds(), 'f', -1, 64)
	if o.User != nil && o.User.Position.Epoch != "" {
		b = appendStream(appendName(b, "position"), o.User)
	}
	b = append(appendName(b, "channels"), '{')
	for i := range o.Channels {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(plainjson.AppendString(b, o.Channels[i].Channel), ':')
		b = appendStream(b, &o.Channels[i])
	}
	b = append(b, '}')
	if len(o.Refused) > 0 {
		b = append(appendRefused(append(appendName(b, "refused"), '{'), o.Refused), '}')
	}
	return append(b, '}')
}

// appendStream appends where a stream begins, and whether it was recovered.
func appendStream(b []byte, st *session.Stream) []byte {
	begin := len(b) + 1
	if st.Position.Epoch != "" {
		b = appendPlace(b, st.Position)
	} else {
		b = append(b, '{')
	}
	if st.Resumed {
		if len(b) > begin {
			b = append(b, ',')
		}
		b = strconv.AppendBool(append(b, `"recovered":`...), st.Recovered)
	}
	return append(b, '}')
}

func appendRefused(b []byte, refused []session.Refused) []byte {
	for i, r := range refused {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(plainjson.AppendString(b, r.Channel), ':')
		b = plainjson.AppendString(b, r.Why)
	}
	return b
}
