package push

import (
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/names"
)

const (
	// MaxBatch is how many pushes one request may carry (SPEC §6.1).
	MaxBatch = 1000
	maxID    = 128
	maxEvent = 64
)

// fieldPushes is the name of the list in a batch.
const fieldPushes = "pushes"

// parseBody reads the body of POST /v1/push: one push, or a batch. Payloads alias
// body.
func parseBody(body []byte) (pushes []*hub.Push, batch bool, _ *apierror.Error) {
	r, f := newJSONReader(body)
	if f == nil {
		pushes, batch, f = readBody(r)
	}
	if f != nil {
		return nil, false, asError(f)
	}
	return pushes, batch, nil
}

func readBody(r *jsonReader) (pushes []*hub.Push, batch bool, _ *fault) {
	p := pushReader{r: r}
	alone := true
	f := r.Object("", func(key []byte) (f *fault) {
		if string(key) != fieldPushes {
			alone = false
			return p.field(key)
		}
		if batch {
			return bad(fieldPushes, "given twice")
		}
		batch = true
		pushes, f = readBatch(r)
		return f
	})
	if f == nil {
		f = r.End()
	}
	switch {
	case f != nil:
		return nil, false, f
	case batch && !alone:
		return nil, false, bad(fieldPushes, "must stand alone")
	case batch:
		return pushes, true, nil
	}
	return []*hub.Push{&p.push.Push}, false, p.check()
}

func readBatch(r *jsonReader) (pushes []*hub.Push, _ *fault) {
	f := r.Array(fieldPushes, func(i int) *fault {
		if i == MaxBatch {
			return bad(fieldPushes, fmt.Sprintf("must not be more than %d", MaxBatch))
		}
		if r.Next() != '{' {
			return r.Unexpected(pathOf(i), "an object")
		}
		p := pushReader{r: r}
		f := r.Object("", p.field)
		if f == nil {
			f = p.check()
		}
		if f != nil {
			return f.In(pathOf(i) + ".")
		}
		pushes = append(pushes, &p.push.Push)
		return nil
	})
	return pushes, f
}

// pathOf is the path of one push of a batch.
func pathOf(i int) string { return fmt.Sprintf("%s[%d]", fieldPushes, i) }

// pushReader reads the fields of one push.
type pushReader struct {
	r    *jsonReader
	push draft
	seen seen
	// payloads counts data, text and data_base64.
	payloads int
}

// seen is which fields came, one bit each.
type seen uint32

const (
	seenTo seen = 1 << iota
	seenExcept
	seenData
	seenText
	seenBase64
	seenEvent
	seenID
	seenTTL
	seenWait
	seenAck
	seenUsers
	seenChannels
	seenConnections
	seenAll
	seenExceptUsers
	seenExceptConnections
)

// first notes a field; it must not have come before.
func (s *seen) first(field seen, name string) *fault {
	if *s&field != 0 {
		return bad(name, "given twice")
	}
	*s |= field
	return nil
}

func (p *pushReader) field(key []byte) *fault {
	switch string(key) {
	case "to":
		return p.optional(seenTo, "to", p.to)
	case "except":
		return p.optional(seenExcept, "except", p.except)
	case "data":
		return p.data()
	case "text":
		return p.optional(seenText, "text", p.text)
	case "data_base64":
		return p.optional(seenBase64, "data_base64", p.base64)
	case "event":
		return p.option(seenEvent, "event", p.push.setEvent)
	case "id":
		return p.option(seenID, "id", p.push.setID)
	case "ttl":
		return p.option(seenTTL, "ttl", p.push.setTTL)
	case "wait":
		return p.option(seenWait, "wait", p.push.setWait)
	case "ack":
		return p.optional(seenAck, "ack", p.ack)
	}
	return bad(string(key), "unknown field")
}

// optional reads a field whose null means that it is absent.
func (p *pushReader) optional(bit seen, name string, read func() *fault) *fault {
	if f := p.seen.first(bit, name); f != nil {
		return f
	}
	if p.r.Null() {
		return nil
	}
	return read()
}

// option reads an optional string and hands it to set, which says what is wrong
// with it.
func (p *pushReader) option(bit seen, name string, set func(string) string) *fault {
	return p.optional(bit, name, func() *fault {
		s, f := p.r.Text(name)
		if f != nil {
			return f
		}
		if problem := set(string(s)); problem != "" {
			return bad(name, problem)
		}
		return nil
	})
}

// data reads any JSON, of which null is some.
func (p *pushReader) data() (f *fault) {
	if f := p.seen.first(seenData, "data"); f != nil {
		return f
	}
	p.payloads++
	p.push.Kind = hub.JSON
	p.push.Data, f = p.r.Value()
	return f
}

func (p *pushReader) text() (f *fault) {
	p.payloads++
	p.push.Kind = hub.Text
	p.push.Data, f = p.r.Text("text")
	return f
}

func (p *pushReader) base64() *fault {
	p.payloads++
	s, f := p.r.Text("data_base64")
	if f != nil {
		return f
	}
	b := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
	n, err := base64.StdEncoding.Decode(b, s)
	if err != nil {
		return bad("data_base64", "not base64")
	}
	p.push.Kind, p.push.Data = hub.Binary, b[:n]
	return nil
}

func (p *pushReader) ack() (f *fault) {
	p.push.Ack, f = p.r.Bool("ack")
	return f
}

func (p *pushReader) to() *fault {
	t := &p.push.To
	return p.r.Object("to", func(key []byte) *fault {
		switch string(key) {
		case "users":
			return p.list(seenUsers, "to.users", list{&t.Users, hub.UserTopic, names.CheckUser, true})
		case "channels":
			return p.list(seenChannels, "to.channels", list{&t.Channels, hub.ChannelTopic, names.CheckChannel, false})
		case "connections":
			return p.list(seenConnections, "to.connections", list{&t.Connections, "", names.CheckUser, false})
		case "all":
			return p.optional(seenAll, "to.all", func() (f *fault) {
				t.All, f = p.r.Bool("to.all")
				return f
			})
		}
		return bad("to."+string(key), "unknown field")
	})
}

func (p *pushReader) except() *fault {
	t := &p.push.To
	return p.r.Object("except", func(key []byte) *fault {
		switch string(key) {
		case "users":
			return p.list(seenExceptUsers, "except.users", list{&t.ExceptUsers, "", names.CheckUser, true})
		case "connections":
			return p.list(seenExceptConnections, "except.connections", list{&t.ExceptConnections, "", names.CheckUser, false})
		}
		return bad("except."+string(key), "unknown field")
	})
}

// list is where a list of names goes, what is put before each, what each must be
// like, and whether a whole number may stand for one.
type list struct {
	into    *[]string
	prefix  string
	check   func(string) error
	numbers bool
}

func (p *pushReader) list(bit seen, field string, l list) *fault {
	return p.optional(bit, field, func() *fault {
		f := p.r.Array(field, func(i int) *fault {
			path := func() string { return fmt.Sprintf("%s[%d]", field, i) }
			b, f := p.r.Name(path, l.numbers)
			if f != nil {
				return f
			}
			s := l.prefix + string(b)
			if err := l.check(s[len(l.prefix):]); err != nil {
				return bad(path(), err.Error())
			}
			*l.into = append(*l.into, s)
			return nil
		})
		*l.into = unique(*l.into)
		return f
	})
}

// unique drops repeats, keeping the order.
func unique(list []string) []string {
	if len(list) < 2 {
		return list
	}
	known := make(map[string]struct{}, len(list))
	return slices.DeleteFunc(list, func(s string) bool {
		_, again := known[s]
		known[s] = struct{}{}
		return again
	})
}

// check is what concerns several fields.
func (p *pushReader) check() *fault {
	t := &p.push.To
	if len(t.Users)+len(t.Channels)+len(t.Connections) == 0 && !t.All {
		return bad("to", "a push needs a target: users, channels, connections or all")
	}
	if p.payloads != 1 {
		return bad("data", "exactly one of data, text, data_base64 is required")
	}
	return nil
}
