package link

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/redistest"
)

// The layout is a promise to nodes that run already: to change what this test wants
// is to change layoutVersion.
func TestKeys_Layout2(t *testing.T) {
	k := NewKeys("pc", 7)
	seats := k.Seats(PartitionOf("ann"))
	for _, c := range [][2]string{
		{layoutVersion, "2"},
		{strings.Join(partitionTags[:], " "), "0ai 1br 2dq 3fp 4j 5x 6bc 7ax 8ac 9bx 10i 11bs 12k 13y 14fd 15da " +
			"16j 17x 18d 19r 20bi 21ar 22r 23d 24bh 25as 26r 27d 28bc 29ax 30fj 31dk " +
			"32z 33h 34fh 35di 36ac 37bx 38fc 39db 40db 41fc 42az 43ba 44a 45s 46fr 47ds " +
			"48di 49fh 50az 51ba 52fq 53dp 54fr 55ds 56fp 57dq 58ap 59bk 60s 61a 62fx 63dy"},
		{k.layout, "pc:layout"},
		{k.Channel("user:ann"), "pc:7:{9bx}:user:ann"},
		{k.Channel("channel:ann"), "pc:7:{9bx}:channel:ann"},
		{k.Channel("all"), "pc:7:{15da}:all"},
		{k.Channel("node:N1"), "pc:7:{8ac}:node:N1"},
		{k.Channel(CanaryTopic(9, "N1")), "pc:7:{9bx}:canary-N1:9bx"},
		{k.Seen("user:ann", "id:1"), "pc:{9bx}:seen:b7b15a392649eaf5:id:1"},
		{k.Record("user:ann"), "pc:{9bx}:stream:user:ann"},
		{k.Messages("user:ann"), "pc:{9bx}:messages:user:ann"},
		{k.Lasting("user:ann"), "pc:{9bx}:lasting:user:ann"}, {k.LastingMark(9), "pc:{9bx}:lasting"}, {k.LastingChannel(9), "pc:7:{9bx}:lasting:9"},
		{k.probe(9, "N1"), "pc:{9bx}:probe:N1"},
		{k.Leases(), "pc:{0ai}:seats:leases"},
		{seats.Users, "pc:{9bx}:seats:user:"}, {seats.Nodes, "pc:{9bx}:seats:nodes"}, {seats.Lost, "pc:{9bx}:seats:lost:"}, {seats.Told, "pc:7:{9bx}:seats:9:"},
	} {
		if c[0] != c[1] {
			t.Errorf("got %s\nwant %s", c[0], c[1])
		}
	}
}

// Redis itself says in which slot each tag and each name is.
func TestKeys_TagsSpreadEvenlyOverTheSlots(t *testing.T) {
	server := redistest.StartCluster(t)
	slot := func(key string) int {
		n, err := strconv.Atoi(server.Do(t, "CLUSTER", "KEYSLOT", key))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	k := NewKeys("pc", 0)
	for p, tag := range partitionTags {
		if got := slot(k.in[p] + "seats:user:a{b}c"); got != slotOf(tag) || got/slotsPerPartition != p {
			t.Errorf("partition %d: tag %s is in slot %d (ours: %d), want one of %d to %d",
				p, tag, got, slotOf(tag), p*slotsPerPartition, (p+1)*slotsPerPartition-1)
		}
	}
	for _, name := range []string{"", "123456789", "ann", "ünï x", "42"} {
		if got, want := slotOf(name), slot(name); got != want {
			t.Errorf("%q: slot %d, Redis says %d", name, got, want)
		}
	}
}

func TestKeys_NamesSpreadEvenlyOverThePartitions(t *testing.T) {
	const each = 500
	for _, name := range []string{"%d", "user%d", "%08x", "room-%d@example.com"} {
		var in [Partitions]int
		for i := range each * Partitions {
			in[PartitionOf(fmt.Sprintf(name, i))]++
		}
		for p, n := range in {
			if n < each*3/4 || n > each*5/4 {
				t.Errorf("%s: %d names in partition %d, want about %d", name, n, p, each)
			}
		}
	}
}

func TestKeys_TopicsComeBackFromChannels(t *testing.T) {
	k := NewKeys("a:b", 15)
	for _, topic := range []string{"all", "user:ann", "user:", "user:}:{x}:", "channel:a{b}:c", CanaryTopic(3, "n"), SeatsTopic(63, "n"), LastingTopic(7)} {
		if got := k.Topic(k.Channel(topic)); got != topic {
			t.Errorf("%s: got %s of %s", topic, got, k.Channel(topic))
		}
	}
}

// Names may have any character: no id of one topic is an id of another's.
func TestKeys_SeenIDsOfTwoTopicsNeverMeet(t *testing.T) {
	k := NewKeys("pc", 0)
	if k.Seen("user:a:b", "c") == k.Seen("user:a", "b:c") {
		t.Error("two topics share an id")
	}
}
