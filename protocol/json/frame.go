package json

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/jsonread"
	"github.com/pushcart/pushcart/internal/names"
)

// Bounds of what clients send.
const (
	maxEvent  = 64
	maxEpoch  = 64
	maxLimit  = 1000 // messages of recent and history
	maxAcked  = 128  // bytes of a message's id
	maxOffset = "a whole number from 0 to 18446744073709551615"
)

// frame is one message of a client. It shares no memory with what was read, but for the
// id.
type frame struct {
	kind          *kind
	id            []byte // as it is written; nil: none
	channel, user string
	position      *hub.Position // of position or after
	count         int           // of recent or limit; 0: none
	token         string
	event         string
	data          []byte
	binary        bool
	message       string
	cursor        string
}

// parse reads a message. With a fault, the frame has the id if that could be read.
func parse(p []byte) (frame, *jsonread.Fault) {
	var f fields
	fault := f.read(p)
	out := frame{}
	id, bad := f.id()
	out.id = id
	switch {
	case fault != nil:
		return out, fault
	case bad != nil:
		return out, bad
	}
	if out.kind, fault = f.kind(); fault != nil {
		return out, fault
	}
	if fault = f.only(out.kind); fault == nil && out.kind.read != nil {
		fault = out.kind.read(&out, &f)
	}
	return out, fault
}

// kind is the message's.
func (f *fields) kind() (*kind, *jsonread.Fault) {
	if f[keyType] == nil {
		return nil, invalid(keyType, "is required")
	}
	name, fault := f.text(keyType)
	if fault != nil {
		return nil, fault
	}
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i], nil
		}
	}
	return nil, invalid(keyType, "unknown type "+shown([]byte(name)))
}

// text is a string.
func (f *fields) text(k key) (string, *jsonread.Fault) {
	s, fault := textOf(f[k])
	if fault != "" {
		return "", invalid(k, fault)
	}
	return s, nil
}

func textOf(b []byte) (text, problem string) {
	if b[0] != '"' {
		return "", "must be a string"
	}
	b = b[1 : len(b)-1]
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b), ""
	}
	unescaped, whole := jsonread.Unescape(b)
	if !whole {
		return "", "has half a surrogate pair"
	}
	return string(unescaped), ""
}

// readTarget reads a channel, or else a user.
func (out *frame) readTarget(f *fields) (fault *jsonread.Fault) {
	for _, t := range [...]struct {
		key   key
		into  *string
		check func(string) error
	}{{keyChannel, &out.channel, names.CheckChannel}, {keyUser, &out.user, names.CheckUser}} {
		if f[t.key] == nil {
			continue
		}
		if *t.into, fault = f.text(t.key); fault != nil {
			return fault
		}
		if err := t.check(*t.into); err != nil {
			return invalid(t.key, err.Error())
		}
	}
	return nil
}

func (out *frame) readSubscribe(f *fields) *jsonread.Fault {
	if fault := out.readTarget(f); fault != nil {
		return fault
	}
	if f[keyPosition] != nil && f[keyRecent] != nil {
		return invalid(keyRecent, "cannot be combined with position")
	}
	if fault := out.readPosition(f, keyPosition); fault != nil {
		return fault
	}
	if fault := out.readCount(f, keyRecent, 0); fault != nil {
		return fault
	}
	if f[keyToken] == nil {
		return nil
	}
	return out.readToken(f)
}

func (out *frame) readToken(f *fields) (fault *jsonread.Fault) {
	if out.token, fault = f.text(keyToken); fault == nil && out.token == "" {
		fault = invalid(keyToken, "must not be empty")
	}
	return fault
}

func (out *frame) readPublish(f *fields) *jsonread.Fault {
	switch channel, user := f[keyChannel] != nil, f[keyUser] != nil; {
	case channel && user:
		return invalid(keyUser, "cannot be combined with channel")
	case !channel && !user:
		return invalid(keyChannel, "is required, or user")
	}
	if fault := out.readTarget(f); fault != nil {
		return fault
	}
	return out.readMessage(f)
}

func (out *frame) readMessage(f *fields) (fault *jsonread.Fault) {
	if f[keyEvent] != nil {
		if out.event, fault = f.text(keyEvent); fault != nil {
			return fault
		}
		if !goodEvent(out.event) {
			return invalid(keyEvent, "must be 1 to 64 of a to z, 0 to 9, _, . and -")
		}
	}
	switch {
	case f[keyData] != nil && f[keyBase64] != nil:
		return invalid(keyBase64, "cannot be combined with data")
	case f[keyData] != nil:
		out.data = bytes.Clone(f[keyData])
	case f[keyBase64] != nil:
		s, fault := f.text(keyBase64)
		if fault != nil {
			return fault
		}
		if out.data, out.binary = nil, true; s == "" {
			return nil
		}
		var err error
		if out.data, err = base64.StdEncoding.DecodeString(s); err != nil || strings.ContainsAny(s, "\r\n") {
			return invalid(keyBase64, "must be base64 with padding (RFC 4648 §4)")
		}
	}
	return nil
}

func goodEvent(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-') {
			return false
		}
	}
	return s != "" && len(s) <= maxEvent
}

func (out *frame) readHistory(f *fields) *jsonread.Fault {
	if fault := out.readTarget(f); fault != nil {
		return fault
	}
	if fault := out.readPosition(f, keyAfter); fault != nil {
		return fault
	}
	return out.readCount(f, keyLimit, 1)
}

func (out *frame) readPresence(f *fields) (fault *jsonread.Fault) {
	if fault = out.readTarget(f); fault != nil || f[keyCursor] == nil {
		return fault
	}
	if out.cursor, fault = f.text(keyCursor); fault == nil && names.CheckUser(out.cursor) != nil {
		fault = invalid(keyCursor, "must be the next of an earlier page")
	}
	return fault
}

func (out *frame) readRecover(f *fields) *jsonread.Fault { return out.readPosition(f, keyPosition) }

func (out *frame) readAck(f *fields) (fault *jsonread.Fault) {
	if out.message, fault = f.text(keyMessage); fault == nil && (out.message == "" || len(out.message) > maxAcked) {
		fault = invalid(keyMessage, "must be the id of a message")
	}
	return fault
}

// readCount reads a number of messages.
func (out *frame) readCount(f *fields, k key, least int) *jsonread.Fault {
	if f[k] == nil {
		return nil
	}
	n, err := strconv.Atoi(string(f[k]))
	if err != nil || n < least || n > maxLimit || f[k][0] == '-' {
		return invalid(k, "must be a whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(maxLimit))
	}
	out.count = n
	return nil
}

func (out *frame) readPosition(f *fields, k key) *jsonread.Fault {
	if f[k] == nil {
		return nil
	}
	p, fault := readPosition(f[k])
	if fault != nil {
		if fault.Field == "" {
			return invalid(k, fault.Problem)
		}
		return fault.In(keyNames[k] + ".")
	}
	out.position = &p
	return nil
}

// readPosition reads {"offset":…,"epoch":"…"}. Faults have no field where the value as a
// whole is wrong.
func readPosition(b []byte) (p hub.Position, fault *jsonread.Fault) {
	r := jsonread.New(b, maxDepth)
	var offset, epoch []byte
	fault = r.Object("", func(name []byte) *jsonread.Fault {
		into := map[string]*[]byte{"offset": &offset, "epoch": &epoch}[string(name)]
		value, fault := r.Value()
		switch {
		case fault != nil:
			return fault
		case into == nil:
			return &jsonread.Fault{Field: shown(name), Problem: "unknown field"}
		case *into != nil:
			return &jsonread.Fault{Field: string(name), Problem: "is there twice"}
		}
		*into = value
		return nil
	})
	if fault != nil {
		return p, fault
	}
	if offset == nil || epoch == nil {
		return p, &jsonread.Fault{Problem: "must have offset and epoch"}
	}
	if p.Offset, fault = readOffset(offset); fault != nil {
		return p, fault
	}
	text, problem := textOf(epoch)
	if problem == "" && (text == "" || len(text) > maxEpoch) {
		problem = "must be 1 to 64 bytes"
	}
	if problem != "" {
		return p, &jsonread.Fault{Field: "epoch", Problem: problem}
	}
	p.Epoch = text
	return p, nil
}

func readOffset(b []byte) (uint64, *jsonread.Fault) {
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		return 0, &jsonread.Fault{Field: "offset", Problem: "must be " + maxOffset}
	}
	return n, nil
}
