package link

import (
	"strconv"
	"strings"
)

// Partitions is how many parts names are spread over (keys.go). What belongs to one lies
// on one server.
const Partitions = 64

const (
	slots             = 16384
	slotsPerPartition = slots / Partitions
)

// nameOf is what a topic is about: "user:ann" is about ann.
func nameOf(topic string) string {
	if i := strings.IndexByte(topic, ':'); i >= 0 {
		return topic[i+1:]
	}
	return topic
}

// TopicPartition is where a topic belongs: to what it names.
func TopicPartition(topic string) int { return PartitionOf(nameOf(topic)) }

// PartitionOf is where a name belongs.
func PartitionOf(name string) int { return slotOf(name) / slotsPerPartition }

// partitionTags has each partition's number with the first letters that bring it
// into its own stretch of slots.
var partitionTags = func() (tags [Partitions]string) {
	for p := range tags {
		for n := 0; tags[p] == "" || PartitionOf(tags[p]) != p; n++ {
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
