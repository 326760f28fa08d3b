package hub

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/hub/internal/registry"
)

// Paging through the channels of two nodes shows each once, with all its
// connections, in order.
func TestChannels_PageOverNodes(t *testing.T) {
	a, b, _ := pair(t)
	want := map[string]int{}
	for i := range 50 {
		name := fmt.Sprintf("room.%02d", i*7%50)
		for n, h := range []*Hub{a, b} {
			if i%3 != n {
				join(t, h, "", name)
				want[name]++
			}
		}
	}
	join(t, a, "", "other")
	var got []ChannelCount
	for after := ""; ; {
		replies, complete, err := b.gather(t.Context(), registry.AllTopic, request{Op: opChannels, Channel: "room.*", After: after, Most: 7})
		if err != nil || !complete {
			t.Fatalf("complete %v, %v", complete, err)
		}
		page, next := mergeChannels(replies, 7)
		if len(page) > 7 || next != "" && len(page) == 0 {
			t.Fatalf("page of %d, next %q", len(page), next)
		}
		got = append(got, page...)
		if after = next; next == "" {
			break
		}
	}
	if !slices.IsSortedFunc(got, func(x, y ChannelCount) int { return strings.Compare(x.Channel, y.Channel) }) {
		t.Errorf("not in order: %v", got)
	}
	if len(got) != len(want) {
		t.Errorf("got %d channels, want %d", len(got), len(want))
	}
	for _, c := range got {
		if c.Connections != want[c.Channel] {
			t.Errorf("%s: got %d connections, want %d", c.Channel, c.Connections, want[c.Channel])
		}
	}
}
