package push

import (
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Push is one push whose fields were checked (SPEC §6.1).
type Push struct {
	to    targets
	kind  Kind
	data  []byte
	event string
	id    string // "" for none
	wait  time.Duration
}

// targets are who gets a push, and who does not.
type targets struct {
	users, channels []string // as broker topics, like "user:42"
	connections     []string // ids
	all             bool

	exceptUsers, exceptConnections []string
}

// Names of the kinds of target in metrics, and of several or none.
const (
	targetUser       = "user"
	targetChannel    = "channel"
	targetConnection = "connection"
	targetAll        = "all"
	targetMixed      = "mixed"
	targetNone       = "none"
)

// label is the push's kind of target.
func (t *targets) label() string {
	label := targetNone
	for _, k := range [...]struct {
		is   bool
		name string
	}{
		{len(t.users) > 0, targetUser},
		{len(t.channels) > 0, targetChannel},
		{len(t.connections) > 0, targetConnection},
		{t.all, targetAll},
	} {
		switch {
		case !k.is:
		case label == targetNone:
			label = k.name
		default:
			return targetMixed
		}
	}
	return label
}

// usersToSkip are those that do not get what goes to channels, connections or
// everyone: those that get it as users, and the excepted.
func (t *targets) usersToSkip() []string {
	if len(t.users) == 0 {
		return t.exceptUsers
	}
	return append(namesOf(t.users, userTopic), t.exceptUsers...)
}

// namesOf cuts the prefix off topics of one kind.
func namesOf(topics []string, prefix string) []string {
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t[len(prefix):]
	}
	return names
}

// digest tells the content of two pushes with one id apart.
func (p *Push) digest() uint64 {
	d := xxhash.New()
	_, _ = d.WriteString(strconv.Itoa(int(p.kind)) + ":" + strconv.Itoa(len(p.event)) + ":" + p.event)
	_, _ = d.Write(p.data)
	return d.Sum64()
}

// Result is what became of one push.
type Result struct {
	// ID is the push's own, or a new UUIDv7.
	ID string
	// Nodes is how many nodes it went to.
	Nodes int
	// Delivered and Slow count connections; only with a wait (Waited).
	Delivered, Slow uint64
	Waited          bool
	// Duplicate: every destination had it before.
	Duplicate bool
}

// append writes the answer of SPEC §6.1.
func (r *Result) append(b []byte) []byte {
	b = append(b, `{"id":`...)
	b = appendJSONString(b, r.ID)
	b = append(b, `,"nodes":`...)
	b = strconv.AppendInt(b, int64(r.Nodes), 10)
	if r.Waited {
		b = append(b, `,"delivered":`...)
		b = strconv.AppendUint(b, r.Delivered, 10)
		b = append(b, `,"slow":`...)
		b = strconv.AppendUint(b, r.Slow, 10)
	}
	b = append(b, `,"duplicate":`...)
	b = strconv.AppendBool(b, r.Duplicate)
	return append(b, '}')
}
