package hub

import (
	"fmt"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/internal/apierror"
)

// Push is one push whose fields were checked (SPEC §6.1).
type Push struct {
	To    Targets
	Kind  Kind
	Data  []byte
	Event string
	ID    string // "" for none
	Wait  time.Duration
	// TTL is how long history hands it out at most; 0: as long as it is kept.
	TTL time.Duration
	// From is the user that publishes it, "" for the backend.
	From string
	// Ack asks clients to confirm it; with Wait they are counted.
	Ack bool
}

// MaxWait is the longest Push.Wait (SPEC §6.1).
const MaxWait = 30 * time.Second

// targets are who gets a push, and who does not.
type Targets struct {
	Users, Channels []string // as broker topics, like "user:42"
	Connections     []string // ids
	All             bool

	ExceptUsers, ExceptConnections []string
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
func (t *Targets) label() string {
	label := targetNone
	for _, k := range [...]struct {
		is   bool
		name string
	}{
		{len(t.Users) > 0, targetUser},
		{len(t.Channels) > 0, targetChannel},
		{len(t.Connections) > 0, targetConnection},
		{t.All, targetAll},
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
	_, _ = d.WriteString(strconv.Itoa(int(p.Kind)) + ":" + strconv.Itoa(len(p.Event)) + ":" + p.Event)
	_, _ = d.Write(p.Data)
	return d.Sum64()
}

// Position is a place in a stream.
type Position = broker.Position

// Placed is where a message stands in the stream of a topic, like "channel:news".
type Placed struct {
	Topic string
	Position
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
	// Acked counts the clients that confirmed it; only where they were Asked to, and with
	// a wait.
	Acked uint64
	Asked bool
	// Duplicate: every destination had it before.
	Duplicate bool
	// Positions are those of the destinations that keep history, in the order of the
	// push; of a duplicate as they were recorded.
	Positions []Placed
}

// MaxExceptKept is how many users a push to a stream may except: they are stored with it
// (SPEC §6.1).
const MaxExceptKept = 1000

// Check says what the rules do not allow in a push whose fields are valid; nil means that
// everything is allowed.
func (h *Hub) Check(p *Push) *apierror.Error {
	if len(p.To.ExceptUsers) <= MaxExceptKept {
		return nil
	}
	if r := h.rules.Load(); r.CountKept(p.To.Channels)+r.CountKept(p.To.Users) == 0 {
		return nil
	}
	return apierror.Invalid("except.users",
		fmt.Sprintf("must not be more than %d where a destination keeps history (channels[].history, users.history)", MaxExceptKept))
}
