package webhook

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/google/uuid"

	"github.com/pushcart/pushcart/internal/plainjson"
)

// NewFact returns the event of a fact about a user (channel is ""), a channel (user is
// ""), or a user's presence in a channel, with its body (SPEC §5). generation orders the
// facts about the same one; at is when it happened.
func NewFact(name, channel, user string, generation uint64, at time.Time) *Event {
	var body any
	switch name {
	case UserOnline, UserOffline:
		body = struct {
			Generation uint64 `json:"generation"`
		}{generation}
	case ChannelOccupied, ChannelVacated:
		body = struct {
			Channel    string `json:"channel"`
			Generation uint64 `json:"generation"`
		}{channel, generation}
	default:
		body = struct {
			Channel string `json:"channel"`
			User    string `json:"user_id"`
		}{channel, user}
	}
	b, _ := plainjson.Append(nil, body) // strings and numbers do not fail
	return &Event{
		Source: Source{UserID: user}, Name: name, Channel: channel, Sequence: generation, Time: at,
		ContentType: contentJSON, Body: b,
	}
}

const contentJSON = "application/json"

// FactID is the ce-id of a fact, the same on every node that sends it: a UUIDv8 (RFC 9562
// §5.8) derived from its content.
func FactID(name, channel, user string, generation uint64) uuid.UUID {
	return hashID(binary.BigEndian.AppendUint64(nil, generation), name, channel, user)
}

// ConnectionEventID is the ce-id of connected and disconnected, whichever node sends
// them: a UUIDv8.
func ConnectionEventID(name, connection string) uuid.UUID {
	return hashID(nil, name, connection)
}

// hashID makes an id of parts, each with its length before it.
func hashID(b []byte, parts ...string) uuid.UUID {
	for _, part := range parts {
		b = appendString(b, part)
	}
	sum := sha256.Sum256(b)
	return asUUIDv8(sum)
}

func asUUIDv8(sum [sha256.Size]byte) (id uuid.UUID) {
	copy(id[:], sum[:])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// id is the event's: where another node may tell it too, it follows from what is told.
func (ev *Event) id() uuid.UUID {
	switch {
	case ev.ConnectionID == "":
		return FactID(ev.Name, ev.Channel, ev.UserID, ev.Sequence)
	case ev.Name == Connected, ev.Name == Disconnected:
		return ConnectionEventID(ev.Name, ev.ConnectionID)
	}
	id, err := uuid.NewV7()
	if err != nil { // crypto/rand never fails
		id = uuid.New()
	}
	return id
}

// key names what the event is told in order with: its connection's events, or the facts
// about the same user, channel, or user in a channel (SPEC §5 Order).
func (ev *Event) key() string {
	switch {
	case ev.ConnectionID != "":
		return ev.ConnectionID // which has no colon
	case ev.Channel == "":
		return "user:" + ev.UserID
	case ev.UserID == "":
		return "channel:" + ev.Channel
	}
	return "channel:" + ev.Channel + "\n" + ev.UserID
}

// subject is ce-subject.
func (ev *Event) subject() string {
	switch {
	case ev.ConnectionID != "":
		return ev.ConnectionID
	case ev.Channel != "":
		return ev.Channel
	}
	return ev.UserID
}
