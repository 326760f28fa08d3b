package link

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// This file names every key and every pub/sub channel in Redis; docs/redis.md has
// them as a table.
//
// A name (of a user, a channel, a connection, a node) belongs to one of 64
// partitions, and so does everything about it: its keys and its pub/sub channel carry
// the partition's hash tag. In Redis Cluster one tag is one slot, so that one script
// can change everything about one name in one step. Standalone Redis gets the same
// keys.
//
// A partition is a stretch of 256 of the 16,384 slots. A name belongs to the
// partition that contains its own slot (Redis' CRC16 of the whole name), and the
// partition's tag lies in the same stretch, so that both spread evenly over however
// many servers share the slots. A tag is the partition's number and a few letters.
//
// Not everything is about a user, a channel or a connection:
//   - the leases of nodes are in partition 0;
//   - a node's inbox goes by the node's id, its canaries and probes are in all partitions;
//   - the topic `all`, which names nothing, goes by the word "all".

const (
	// layoutVersion changes whenever a name in this file does: nodes with different
	// layouts must not share data.
	layoutVersion = "2"

	// LeasePartition has what is of no name.
	LeasePartition = 0
)

// Keys makes the names of one prefix and database.
type Keys struct {
	// layout holds layoutVersion. It never expires, and has no tag.
	layout string
	// in[p] begins the keys of a partition, topics[p] its channels. Pub/sub knows no
	// databases, so that names of channels carry the number.
	in, topics   [Partitions]string
	topicsPrefix string
	// slots are those of the partitions' tags, and of layout.
	slots [places]int
}

// NewKeys names what is under a prefix, and the channels of a database.
func NewKeys(prefix string, database int) *Keys {
	k := &Keys{layout: prefix + ":layout", topicsPrefix: prefix + ":" + strconv.Itoa(database) + ":"}
	for p, tag := range partitionTags {
		k.in[p] = prefix + ":{" + tag + "}:"
		k.topics[p] = k.topicsPrefix + "{" + tag + "}:"
		k.slots[p] = slotOf(tag)
	}
	k.slots[layoutPlace] = slotOf(k.layout)
	return k
}

// In begins the keys of a partition, ChannelsIn its pub/sub channels.
func (k *Keys) In(partition int) string { return k.in[partition] }

// ChannelsIn is what In says.
func (k *Keys) ChannelsIn(partition int) string { return k.topics[partition] }

// Channel is the pub/sub channel of a topic: of the partition of what it names.
func (k *Keys) Channel(topic string) string { return k.topics[TopicPartition(topic)] + topic }

// Topic is what Channel made a channel of.
func (k *Keys) Topic(channel string) string {
	channel = strings.TrimPrefix(channel, k.topicsPrefix)
	if end := strings.IndexByte(channel, '}'); end >= 0 && end+2 <= len(channel) {
		return channel[end+2:] // tags have no brace
	}
	return channel
}

// Record is what is known of a topic's stream, Messages are what it keeps.
func (k *Keys) Record(topic string) string {
	return k.in[TopicPartition(topic)] + "stream:" + topic
}

// Messages is what Record says.
func (k *Keys) Messages(topic string) string {
	return k.in[TopicPartition(topic)] + "messages:" + topic
}

// Seen holds the digest of the content that an id was used for on a topic, and the
// position that it got where it was kept. Names and ids may contain any character, so
// that only a hash keeps the two apart.
func (k *Keys) Seen(topic, id string) string {
	sum := sha256.Sum256([]byte(topic))
	return k.in[TopicPartition(topic)] + "seen:" + hex.EncodeToString(sum[:8]) + ":" + id
}

// Lasting is the list of a topic.
func (k *Keys) Lasting(topic string) string {
	return k.in[TopicPartition(topic)] + "lasting:" + topic
}

// LastingMark says that a partition has lists.
func (k *Keys) LastingMark(p int) string { return k.in[p] + "lasting" }

// LastingChannel is the channel of LastingTopic.
func (k *Keys) LastingChannel(p int) string { return k.topics[p] + LastingTopic(p) }

// LastingTopic is where nodes hear that a partition has its first list.
func LastingTopic(p int) string { return "lasting:" + strconv.Itoa(p) }

// probe is written to prove that writing is possible.
func (k *Keys) probe(p int, node string) string { return k.in[p] + "probe:" + node }

// CanaryTopic is where a node hears its own probes that go through a partition: it is about
// the partition's tag.
func CanaryTopic(p int, node string) string { return "canary-" + node + ":" + partitionTags[p] }

// Leases are the names of nodes that count seats, by their last beat.
func (k *Keys) Leases() string { return k.in[LeasePartition] + "seats:leases" }

// LeasesClock says when any of them beat last, and when Redis was last seen to pause.
func (k *Keys) LeasesClock() string { return k.in[LeasePartition] + "seats:clock" }

// SeatKeys are a partition's names for seats.
type SeatKeys struct {
	// Nodes has the names of nodes whose seats count.
	Nodes string
	// Users, with a user's name behind it, has the user's seats.
	Users string
	// Lost, with the name of a node, has its connections that lost their seat.
	Lost string
	// Told, with a node's id, is the channel that says so.
	Told string
}

// Seats are the names of a partition.
func (k *Keys) Seats(p int) SeatKeys {
	return SeatKeys{
		Nodes: k.in[p] + "seats:nodes", Users: k.in[p] + "seats:user:", Lost: k.in[p] + "seats:lost:",
		Told: k.topics[p] + SeatsTopic(p, ""),
	}
}

// SeatsTopic is where a node hears that connections lost their seats in a
// partition.
func SeatsTopic(p int, node string) string { return "seats:" + strconv.Itoa(p) + ":" + node }

// What is known of who is here, and what the backend is to be told of it. In each
// partition these follow what begins its keys; those with a colon are followed by a name.
// Package roster's scripts make keys of them too.
const (
	// RosterKey and a node's name: what that node declared. DeadKey: it was buried.
	RosterKey, DeadKey = "roster:", "dead:"
	// UserKey and a user: the nodes that have it. ChannelKey and a channel: the nodes
	// where somebody is subscribed to it.
	UserKey, ChannelKey = "user:", "channel:"
	// PresentKey and a channel: the names of its members. PresenceKey: what is known of
	// them.
	PresentKey, PresenceKey = "present:", "presence:"
	// DueKey is what is told at a time, unless somebody comes back. OutboxKey is what is to
	// be told, OwnerKey is the node that tells it.
	DueKey, OutboxKey, OwnerKey = "due", "outbox", "owner"

	// In LeasePartition alone: the nodes by their last beat, when that of any was and when
	// Redis was last seen to pause, the dead letters, and these by time.
	NodesKey, ClockKey       = "nodes", "nodes:clock"
	LettersKey, LettersByKey = "letters", "letters:by"
)

// OutboxTopic is where the owner of a partition hears that there is something to be told.
func OutboxTopic(p int, node string) string { return OutboxKey + ":" + strconv.Itoa(p) + ":" + node }
