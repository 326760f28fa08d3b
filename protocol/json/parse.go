package json

import (
	"slices"
	"strconv"

	"github.com/pushcart/pushcart/internal/jsonread"
)

// maxDepth is how deep the values of a message may be nested (SPEC §11).
const maxDepth = 128

// maxID is how long an id may be, as it is written between its quotes.
const maxID = 128

// key is a field of what clients send.
type key uint8

const (
	keyType key = iota
	keyID
	keyChannel
	keyUser
	keyPosition
	keyRecent
	keyToken
	keyEvent
	keyData
	keyBase64
	keyAfter
	keyLimit
	keyMessage
	keyCursor
	keys
)

var keyNames = [keys]string{
	"type", "id", "channel", "user", "position", "recent", "token", "event", "data", "data_base64", "after", "limit", "message", "cursor",
}

// kind is a type of what clients send.
type kind struct {
	name    string
	read    func(*frame, *fields) *jsonread.Fault
	do      func(*conversation, *frame)
	allowed []key // beside type
	wanted  []key
}

// fields are the values of a message as they are written, nil where there is none.
type fields [keys][]byte

// read takes a message apart. What it returns beside a fault is what was there before it.
func (f *fields) read(p []byte) *jsonread.Fault {
	r := jsonread.New(p, maxDepth)
	var first *jsonread.Fault // reading goes on, as the id may come later
	bad := func(name, problem string) {
		if first == nil {
			first = &jsonread.Fault{Field: name, Problem: problem}
		}
	}
	fault := r.Object("", func(name []byte) *jsonread.Fault {
		i := slices.Index(keyNames[:], string(name))
		value, fault := r.Value()
		switch {
		case fault != nil:
			return fault
		case i < 0:
			bad(shown(name), "unknown field")
		case f[i] != nil:
			bad(keyNames[i], "is there twice")
			if key(i) == keyID {
				f[i] = []byte("null") // neither can be meant
			}
		default:
			f[i] = value
		}
		return nil
	})
	if fault == nil {
		fault = r.End()
	}
	if fault != nil {
		return fault
	}
	return first
}

// shown is the name of an unknown field, as much of it as is worth showing.
func shown(name []byte) string {
	const most = 64
	if len(name) > most {
		name = append(slices.Clip(name[:most]), "..."...)
	}
	return strconv.QuoteToGraphic(string(name))
}

// id is the message's as it is written, nil without one.
func (f *fields) id() ([]byte, *jsonread.Fault) {
	b := f[keyID]
	if b == nil {
		return nil, nil
	}
	size := len(b)
	switch {
	case b[0] == '"':
		size -= 2
	case b[0] != '-' && (b[0] < '0' || b[0] > '9'):
		size = 0
	}
	if size < 1 || size > maxID {
		return nil, invalid(keyID, "must be a number or a string, of 1 to 128 bytes")
	}
	return b, nil
}

// only says which field is there that must not be, or not there that must be.
func (f *fields) only(k *kind) *jsonread.Fault {
	for i := range keys {
		if f[i] != nil && i != keyType && !slices.Contains(k.allowed, i) {
			return invalid(i, "is not a field of "+k.name)
		}
	}
	for _, i := range k.wanted {
		if f[i] == nil {
			return invalid(i, "is required")
		}
	}
	return nil
}

func invalid(k key, problem string) *jsonread.Fault {
	return &jsonread.Fault{Field: keyNames[k], Problem: problem}
}
