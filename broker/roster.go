package broker

import (
	"context"
	"time"
)

// MaxMembers is the maximum number of members in one page of Members (SPEC §4.3
// presence), and of users in one Resumed.
const MaxMembers = 1000

// Roster combines what each node has: which users are online, which channels are
// occupied, who is present in them, and which connections to report as lost when a node
// dies (SPEC §5 Safety).
//
// A node declares its own state in absolute terms: "ann is here", "two connections of ann
// are in chat", "nobody is in chat any more". Nothing is incremented or decremented
// between nodes, so anything may be declared again, and when Redis lost its data, the
// nodes declare everything again. What results across all nodes, such as a user coming
// online or a channel being vacated, is a Fact: it is decided in the same step that
// stores the declaration, and sent by one node.
//
// Declarations are stored by node, so the others can withdraw those of a dead node and
// send the resulting events. A node is dead when it has not renewed its lease for a Lease
// by Redis' clock while Redis was available.
type Roster interface {
	// WatchRoster sets who hears of facts. Call it once, before Start.
	WatchRoster(w RosterWatcher)
	// Declare takes changes in their order and returns at once. Those to one name take
	// effect in this order. While Redis is away only the last one to each name is kept.
	Declare(changes ...Change)
	// HandOver has the broker tell what was declared of a connection with ConnectionEnded,
	// as a Fact ConnectionToTell; this node declares no ConnectionGone then. false: it
	// will not, as nothing is declared or Redis is known to be away; then the connection
	// is ConnectionGone.
	HandOver(connection string) (told bool)
	// Members returns a page of the members of a channel, over all nodes, in the order
	// of their names. What this node declared before is in it. An error wraps
	// ErrUnavailable or ErrClosed.
	Members(ctx context.Context, channel string, q MembersQuery) (Members, error)
	// Flush is for a node that ends, after its last declaration: it returns when what was
	// declared is stored, or ctx ends. A broker that ends with its node tells at once
	// what would be due later.
	Flush(ctx context.Context)
}

// ChangeKind says what a Change declares.
type ChangeKind uint8

// The kinds of changes. Here may be declared again, with other contents or the same;
// Gone of what is not here does nothing.
const (
	// ConnectionHere: this node has the connection Name. Record is kept for the node
	// that has to tell its end, should this one die.
	ConnectionHere ChangeKind = iota
	// ConnectionEnded: it ended, and Record is what is to be told of it. This node tells
	// it, and declares ConnectionGone then; should it die before, another node tells it.
	ConnectionEnded
	// ConnectionGone: nothing is to be told of it any more.
	ConnectionGone
	// UserHere: this node has a connection of the user Name. UserGone: it has none any
	// more; the user is offline when no node has had one for Delay.
	UserHere
	UserGone
	// ChannelHere: somebody on this node is subscribed to the channel Name. ChannelGone:
	// nobody is any more.
	ChannelHere
	ChannelGone
	// MemberHere: the user User has Connections on this node that are subscribed to the
	// channel Name. MemberGone: none any more.
	MemberHere
	MemberGone
)

// Change is one declaration of this node.
type Change struct {
	Kind ChangeKind
	// Name is a connection, a user or a channel.
	Name string
	// User is the member of MemberHere and MemberGone.
	User string
	// Connections is how many of the member this node has, at least 1.
	Connections int
	// Info is what the member's presence shows: JSON of up to 1 KiB, nil for nothing.
	Info []byte
	// Record is what a connection's end needs to be told. The broker does not read it.
	Record []byte
	// Tell: what follows is to be told to the backend, where it is a Fact; else it is
	// only kept.
	Tell bool
	// Delay is users.offline_delay, of UserHere and UserGone.
	Delay time.Duration
	// Frames is presence_frames of the channel's rule, of MemberHere and MemberGone:
	// up to so many members each Joined and Left is a message on the channel's topic.
	// 0: none is.
	Frames int
	// Stored is called once: with true when the broker has the change, or a later one to
	// the same name, so that it outlives this node; with false when the broker is known
	// to be away, or has forgotten it (see Buried). It is called from any goroutine,
	// perhaps before Declare returns; it must not block, nor call the Roster. nil: nobody
	// wants to know.
	Stored func(stored bool)
}

// FactKind says what a Fact is.
type FactKind uint8

// The kinds of facts.
const (
	UserOnline FactKind = iota
	UserOffline
	ChannelOccupied
	ChannelVacated
	MemberJoined
	MemberLeft
	// ConnectionLost: the node of the connection died. Record is of its ConnectionHere,
	// At is its node's last beat.
	ConnectionLost
	// ConnectionToTell: the node died before it told the end. Record is of its
	// ConnectionEnded.
	ConnectionToTell
)

// Fact is an event that this node must send to the backend.
type Fact struct {
	// Entry names it for the Outbox; "" where nothing has to be settled, as in memory.
	Entry string
	Kind  FactKind
	// Name is the connection, user or channel; User the member.
	Name, User string
	// Generation grows with each fact about one user, the occupancy of one channel, or
	// the members of one channel: the larger of the last one plus 1 and the broker's
	// clock in Unix milliseconds, so that it survives a Redis that lost its data.
	Generation uint64
	// At is when it became known, by the broker's clock.
	At time.Time
	// Record is what was declared with a connection.
	Record []byte
}

// RosterWatcher is notified of what a node has to do. Its functions must not block; they
// may be called from several goroutines, but for one name in the order of events.
type RosterWatcher struct {
	// Tell has this node tell a fact, and then settle its entry.
	Tell func(f Fact)
	// Withdraw: another node tells the facts from now on whose entries elsewhere says
	// true of. Those that are not on their way to the backend are to be dropped without
	// a word.
	Withdraw func(elsewhere func(entry string) bool)
	// Buried: this node was declared dead, and its connections were reported as lost. It is
	// to end its connections, to tell nothing of them, and to tell none of the ends it
	// declared before; the broker has forgotten all that it declared.
	Buried func()
}

// MembersQuery is a question to Members.
type MembersQuery struct {
	// After is the name after which the page begins; "": the first.
	After string
	// Limit bounds it; 0, or more than MaxMembers, is MaxMembers.
	Limit int
}

// Members is a page of a channel's members.
type Members struct {
	Page  []Member
	Total int
	// More: there are members after the last of the page.
	More bool
}

// Member is a user subscribed to a channel, on any node.
type Member struct {
	User        string
	Connections int
	// Since is when the first of them came, in Unix milliseconds of the broker's clock.
	Since int64
	// Info is what the connection that came last said.
	Info []byte
}

// Presence is what a message of the kinds Joined, Left, Paused and Resumed says; it comes
// on the topic of the channel, in the order of the channel's messages, and has no place
// in its stream.
type Presence struct {
	// User and Info are of Joined and Left.
	User string
	Info []byte
	// Members are those that a Resumed finds, at most MaxMembers.
	Members []Member
}

// Outbox holds events for the backend, and events that the backend refused for good,
// beyond the life of this node.
type Outbox interface {
	// LimitOutbox sets the bounds, at first before Start and then whenever they change.
	LimitOutbox(l OutboxLimits)
	// Settle says that a fact was told, or is not wanted any more. It does not wait.
	Settle(entry string)
	// Bury keeps a dead letter, of a fact or of anything else that was told, within the
	// bounds: the oldest make room. It does not wait.
	Bury(l DeadLetter)
	// DeadLetters returns a page of them, the oldest first, and where the next begins,
	// "" if there are no more. Errors here and below wrap ErrUnavailable or ErrClosed.
	DeadLetters(ctx context.Context, cursor string, limit int) (page []DeadLetter, next string, err error)
	// DeadLetter returns one; false: there is none of that id.
	DeadLetter(ctx context.Context, id string) (DeadLetter, bool, error)
	// Drop forgets one; false: there is none.
	Drop(ctx context.Context, id string) (bool, error)
	// OutboxSize counts the facts and ends that wait in the broker, over all nodes, and
	// the dead letters, as they were a moment ago.
	OutboxSize() (waiting, dead int)
}

// OutboxLimits bound what is kept for the backend.
type OutboxLimits struct {
	// Waiting is how many facts wait at most, where they are kept beyond this node's
	// life: webhook.outbox.redis. Past it the oldest are lost.
	Waiting int
	// DeadLetters is how many are kept, and Age for how long: webhook.dead_letters.
	DeadLetters int
	Age         time.Duration
}

// DeadLetter is an event that was given up. The broker does not read Event.
type DeadLetter struct {
	// ID is the event's (ce-id); a second one of the same id replaces the first.
	ID string
	// Entry is the fact's that it settles, "" for none.
	Entry string
	// Event is what is needed to tell it again.
	Event []byte
	// Reason says why it was given up, At when, in Unix milliseconds.
	Reason string
	At     int64
}

// Lease is how long a node may be silent before it is declared dead (SPEC §5 Safety).
const Lease = 10 * time.Second
