package hub

import (
	"cmp"
	"slices"
	"strings"
)

// listChannels is this node's part of GET /v1/channels: names after q.After that
// match the pattern, in order, at most q.Most; more: others come after
// them.
func (h *Hub) listChannels(q *request) (page []ChannelCount, more bool) {
	page = h.channels.list(func(name string) bool {
		return name > q.After && matchPattern(q.Channel, name)
	})
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
			page = append(page, ChannelCount{name, n})
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

// matchPattern is SPEC §3's: * stands for any characters but dots, ** for any,
// and "" matches everything.
func matchPattern(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	// Two places to come back to: the last *, and the last **, which reaches
	// farther.
	type place struct{ pattern, name int }
	none := place{-1, -1}
	star, stars := none, none
	p, n := 0, 0
	for n < len(name) || p < len(pattern) {
		rest := pattern[p:]
		switch {
		case strings.HasPrefix(rest, "**"):
			p += 2
			star, stars = none, place{p, n}
		case strings.HasPrefix(rest, "*"):
			p++
			star = place{p, n}
		case n < len(name) && p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star != none && star.name < len(name) && name[star.name] != '.':
			star.name++
			p, n = star.pattern, star.name
		case stars != none && stars.name < len(name):
			stars.name++
			star = none
			p, n = stars.pattern, stars.name
		default:
			return false
		}
	}
	return true
}
