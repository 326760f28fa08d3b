package redisbroker

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// This file names every key and every pub/sub channel in Redis; docs/operations.md
// has them as a table.
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
//   - a node's inbox, canary and probe go by the node's id;
//   - the topic `all`, which names nothing, goes by the word "all".

const (
	// layoutVersion changes whenever a name in this file does: nodes with different
	// layouts must not share data.
	layoutVersion = "2"

	partitions        = 64
	slots             = 16384
	slotsPerPartition = slots / partitions
	leasePartition    = 0
)

// keys makes the names of one prefix and database.
type keys struct {
	// layout holds layoutVersion. It never expires, and has no tag.
	layout string
	// in[p] begins the keys of a partition, topics[p] its channels. Pub/sub knows no
	// databases, so that names of channels carry the number.
	in, topics   [partitions]string
	topicsPrefix string
}

func newKeys(prefix string, database int) *keys {
	k := &keys{layout: prefix + ":layout", topicsPrefix: prefix + ":" + strconv.Itoa(database) + ":"}
	for p, tag := range partitionTags {
		k.in[p] = prefix + ":{" + tag + "}:"
		k.topics[p] = k.topicsPrefix + "{" + tag + "}:"
	}
	return k
}

// channel is the pub/sub channel of a topic: of the partition of what it names.
func (k *keys) channel(topic string) string { return k.topics[partitionOf(nameOf(topic))] + topic }

// topic is what channel made a channel of.
func (k *keys) topic(channel string) string {
	channel = strings.TrimPrefix(channel, k.topicsPrefix)
	if end := strings.IndexByte(channel, '}'); end >= 0 && end+2 <= len(channel) {
		return channel[end+2:] // tags have no brace
	}
	return channel
}

// record is what is known of a topic's stream, messages are what it keeps.
func (k *keys) record(topic string) string {
	return k.in[partitionOf(nameOf(topic))] + "stream:" + topic
}

func (k *keys) messages(topic string) string {
	return k.in[partitionOf(nameOf(topic))] + "messages:" + topic
}

// seen holds the digest of the content that an id was used for on a topic, and the
// position that it got where it was kept. Names and ids may contain any character, so
// that only a hash keeps the two apart.
func (k *keys) seen(topic, id string) string {
	sum := sha256.Sum256([]byte(topic))
	return k.in[partitionOf(nameOf(topic))] + "seen:" + hex.EncodeToString(sum[:8]) + ":" + id
}

// lasting is the list of a topic, lastingMark says that a partition has lists, and
// lastingTopic is where nodes hear that it has its first.
func (k *keys) lasting(topic string) string {
	return k.in[partitionOf(nameOf(topic))] + "lasting:" + topic
}

func (k *keys) lastingMark(p int) string { return k.in[p] + "lasting" }

func (k *keys) lastingChannel(p int) string { return k.topics[p] + lastingTopic(p) }

func lastingTopic(p int) string { return "lasting:" + strconv.Itoa(p) }

// probe is written to prove that writing is possible.
func (k *keys) probe(node string) string { return k.in[partitionOf(node)] + "probe:" + node }

// canaryTopic is where a node hears its own probes.
func canaryTopic(node string) string { return "canary:" + node }

// leases are the names of nodes that count seats, by their last beat.
func (k *keys) leases() string { return k.in[leasePartition] + "seats:leases" }

// seatKeys are a partition's names for seats.
type seatKeys struct {
	nodes string // the names of nodes whose seats count
	users string // and a user's name: their seats
	lost  string // and a node's name: its connections that lost their seat
	told  string // and a node's id: the channel that says so
}

func (k *keys) seats(p int) seatKeys {
	return seatKeys{
		nodes: k.in[p] + "seats:nodes", users: k.in[p] + "seats:user:", lost: k.in[p] + "seats:lost:",
		told: k.topics[p] + seatsTopic(p, ""),
	}
}

// seatsTopic is where a node hears that connections lost their seats in a
// partition.
func seatsTopic(p int, node string) string { return "seats:" + strconv.Itoa(p) + ":" + node }

// nameOf is what a topic is about: "user:ann" is about ann.
func nameOf(topic string) string {
	if i := strings.IndexByte(topic, ':'); i >= 0 {
		return topic[i+1:]
	}
	return topic
}

func partitionOf(name string) int { return slotOf(name) / slotsPerPartition }

// partitionTags has each partition's number with the first letters that bring it
// into its own stretch of slots.
var partitionTags = func() (tags [partitions]string) {
	for p := range tags {
		for n := 0; tags[p] == "" || partitionOf(tags[p]) != p; n++ {
			tags[p] = strconv.Itoa(p) + letters(n)
		}
	}
	return tags
}()

// letters counts a, b, … z, aa, ab, …
func letters(n int) string {
	last := string(rune('a' + n%26))
	if n < 26 {
		return last
	}
	return letters(n/26-1) + last
}

// slotOf is the slot of a key without braces, as in CLUSTER KEYSLOT.
func slotOf(s string) int {
	crc := uint16(0)
	for i := range len(s) {
		crc = crc<<8 ^ crc16Table[byte(crc>>8)^s[i]]
	}
	return int(crc) % slots
}

// crc16Table is of CRC16/XMODEM, which Redis uses.
var crc16Table = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if carry := crc&0x8000 != 0; carry {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()
