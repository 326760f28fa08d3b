package hub

import (
	"cmp"
	"slices"

	"github.com/pushcart/pushcart/internal/glob"
)

// listChannels is this node's part of GET /v1/channels: names after q.After that
// match the pattern, in order, at most q.Most; more: others come after
// them.
func (h *Hub) listChannels(q *request) (page []ChannelCount, more bool) {
	match, err := glob.Compile(q.Channel)
	if err != nil { // the node that asks has compiled it
		h.log.Error("a node asks for channels by a bad pattern", "other_node", q.From, "pattern", q.Channel, "err", err)
		return nil, false
	}
	page = h.here.Channels.List(func(name string) bool { return name > q.After && match.Match(name) })
	slices.SortFunc(page, func(a, b ChannelCount) int { return cmp.Compare(a.Channel, b.Channel) })
	if len(page) > q.Most {
		return page[:q.Most], true
	}
	return page, false
}

// mergeChannels adds up the pages of several nodes. A name is only certain if no
// node's page ended before it. next is the cursor of the page after, "" for none.
func mergeChannels(replies []reply, limit int) (page []ChannelCount, next string) {
	counts := map[string]int{}
	certain, more := "", false
	for _, r := range replies {
		for _, c := range r.Channels {
			counts[c.Channel] += c.Connections
		}
		if r.More && len(r.Channels) > 0 {
			if last := r.Channels[len(r.Channels)-1].Channel; !more || last < certain {
				certain, more = last, true
			}
		}
	}
	page = []ChannelCount{}
	for name, n := range counts {
		if !more || name <= certain {
			page = append(page, ChannelCount{Channel: name, Connections: n})
		}
	}
	slices.SortFunc(page, func(a, b ChannelCount) int { return cmp.Compare(a.Channel, b.Channel) })
	if len(page) > limit {
		page, more = page[:limit], true
	}
	if more && len(page) > 0 {
		next = page[len(page)-1].Channel
	}
	return page, next
}
