package json

import (
	"encoding/base64"
	"strconv"
	"time"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/jsonread"
	"github.com/pushcart/pushcart/internal/plainjson"
)

// appendText appends ,"name":"text" unless that is empty.
func appendText(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	return plainjson.AppendString(appendName(b, name), text)
}

func appendName(b []byte, name string) []byte {
	return append(append(append(b, `,"`...), name...), `":`...)
}

// appendID appends the id of the request that is answered.
func appendID(b, id []byte) []byte {
	if id == nil {
		return b
	}
	return append(append(b, `,"id":`...), id...)
}

// appendPlace appends {"offset":…,"epoch":"…" and leaves the object open.
func appendPlace(b []byte, p hub.Position) []byte {
	b = strconv.AppendUint(append(b, `{"offset":`...), p.Offset, 10)
	return plainjson.AppendString(append(b, `,"epoch":`...), p.Epoch)
}

// appendPosition appends a position, unless the stream has none.
func appendPosition(b []byte, p hub.Position) []byte {
	if p.Epoch == "" {
		return b
	}
	return append(appendPlace(appendName(b, "position"), p), '}')
}

// appendPayload appends the payload of a push: JSON as it came, text as a JSON string,
// binary in base64.
func appendPayload(b []byte, kind hub.Kind, data []byte) []byte {
	switch kind {
	case hub.JSON:
		return append(appendName(b, "data"), data...)
	case hub.Binary:
		return appendBase64(b, data)
	}
	return plainjson.AppendString(appendName(b, "data"), data)
}

func appendBase64(b, data []byte) []byte {
	b = append(appendName(b, "data_base64"), '"')
	return append(base64.StdEncoding.AppendEncode(b, data), '"')
}

// timeForm is RFC 3339 with milliseconds.
const timeForm = "2006-01-02T15:04:05.000Z07:00"

func appendTime(b []byte, name string, at time.Time) []byte {
	return append(at.UTC().AppendFormat(append(appendName(b, name), '"'), timeForm), '"')
}

// content is what messages that are pushed, kept or sent first have in common.
type content struct {
	kind                     hub.Kind
	data                     []byte
	id, channel, event, from string
	at                       hub.Position
	epoch                    bool // is shown
	accepted                 int64
	ack                      bool
}

// room is about how long the message will be.
func (c *content) room() int {
	return 192 + len(c.data)*4/3 + len(c.id) + len(c.channel) + len(c.event) + len(c.from)
}

// append appends the message.
func (c *content) append(b []byte) []byte {
	b = append(b, `{"type":"message"`...)
	b = appendText(b, "id", c.id)
	b = appendText(b, "channel", c.channel)
	b = appendText(b, "event", c.event)
	b = appendPayload(b, c.kind, c.data)
	b = appendText(b, "from", c.from)
	if c.at.Offset > 0 {
		b = strconv.AppendUint(appendName(b, "offset"), c.at.Offset, 10)
		if c.epoch {
			b = appendText(b, "epoch", c.at.Epoch)
		}
	}
	b = appendTime(b, "time", time.Unix(0, c.accepted))
	if c.ack {
		b = append(b, `,"ack":true`...)
	}
	return append(b, '}')
}

// appendEvent appends what the hub says of a stream.
func appendEvent(b []byte, kind, channel string, at hub.Position) []byte {
	b = append(append(append(b, `{"type":"`...), kind...), '"')
	return append(appendPosition(appendText(b, "channel", channel), at), '}')
}

// okFrame begins an ok, which its caller closes.
func okFrame(id []byte) []byte { return appendID([]byte(`{"type":"ok"`), id) }

func errorFrame(id []byte, code apierror.Code, message string) []byte {
	b := appendID([]byte(`{"type":"error"`), id)
	b = appendText(b, "code", string(code))
	return append(appendText(b, "message", message), '}')
}

// faultFrame is the answer to a message that is not a request.
func faultFrame(id []byte, f *jsonread.Fault) []byte {
	field := f.Field
	if field == "" {
		field = "frame"
	}
	return errorFrame(id, apierror.InvalidArgument, field+": "+f.Problem)
}
