package listen

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/pushcart/pushcart/internal/plainjson"
)

// framed is pushcart.json.v1: each message is an object with a type (docs/protocol.md).
var framed = Protocol{Name: "json", Subprotocol: "pushcart.json.v1", frames: true}

// frame is what a server says, as far as it is shown in words.
type frame struct {
	Type    string
	ID      json.RawMessage
	Channel string
	Event   string
	From    string
	Data    json.RawMessage
	Base64  *string `json:"data_base64"`
	Ack     bool
	Code    string
	Message string
}

// isMessage says whether it is one for people, not about the connection.
func (f *frame) isMessage() bool { return f.Type == "message" || f.Type == "reply" }

// shownFrame is a frame for people: messages by where they came from, all else marked by
// its type. ok: it was a frame.
func shownFrame(data []byte) (text string, f frame, ok bool) {
	var one bytes.Buffer // line, whatever the app's JSON looks like
	if json.Compact(&one, data) != nil || json.Unmarshal(one.Bytes(), &f) != nil || f.Type == "" {
		return "", f, false
	}
	if f.Type == "message" {
		return f.from() + ": " + f.data(), f, true
	}
	var id string
	if f.ID != nil {
		id = " " + string(f.ID)
	}
	switch mark := "[" + f.Type + id + "] "; f.Type {
	case "reply":
		return mark + f.data(), f, true
	case "error":
		return mark + f.Code + ": " + f.Message, f, true
	default:
		return strings.TrimSuffix(mark+others(json.NewDecoder(&one)), " "), f, true
	}
}

// from says to whom, by whom and about what.
func (f *frame) from() string {
	to := "user"
	if f.Channel != "" {
		to = "channel " + f.Channel
	}
	if f.Event != "" {
		to += ", event " + f.Event
	}
	if f.From != "" {
		to += ", from " + f.From
	}
	if f.Ack {
		to += ", wants ack " + string(f.ID)
	}
	return to
}

func (f *frame) data() string {
	if f.Base64 != nil {
		return "[base64] " + *f.Base64
	}
	return string(f.Data)
}

// others are the fields of an object but its type and id, as they are written and in
// their order; "" if there are none.
func others(object *json.Decoder) string {
	var out []byte
	_, _ = object.Token() // its brace
	for object.More() {
		name, _ := object.Token()
		var value json.RawMessage
		if object.Decode(&value) != nil {
			break
		}
		if text, _ := name.(string); text != "type" && text != "id" {
			out = append(append(plainjson.AppendString(append(out, ','), text), ':'), value...)
		}
	}
	if out == nil {
		return ""
	}
	out[0] = '{'
	return string(append(out, '}'))
}

// typedFrame is what a line becomes: one that begins with a brace goes as it is, any
// other is the data of a message to the app, as JSON if it is that, else as a string.
func typedFrame(text string) []byte {
	if strings.HasPrefix(text, "{") {
		return []byte(text)
	}
	b := []byte(`{"type":"message","data":`)
	if json.Valid([]byte(text)) {
		b = append(b, text...)
	} else {
		b = plainjson.AppendString(b, text)
	}
	return append(b, '}')
}

// subscribing is the frame that asks for a channel; its id is the channel where it may
// be one, so that an error names it.
func subscribing(channel string) []byte {
	const most = 128 // bytes of an id as it is written
	b := []byte(`{"type":"subscribe"`)
	if id := plainjson.AppendString(nil, channel); len(id) <= most {
		b = append(append(b, `,"id":`...), id...)
	}
	b = plainjson.AppendString(append(b, `,"channel":`...), channel)
	return append(b, '}')
}
