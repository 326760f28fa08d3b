package hub_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/hub/hubtest"
)

// pile is a node's outbox: events by their rank, which is their id.
type pile struct {
	mu      sync.Mutex // guards all below
	ids     []string
	hurried []string
}

func (p *pile) Waiting(after string, limit int) (page []hub.Pending, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range p.ids {
		if id > after {
			page = append(page, hub.Pending{ID: id, Rank: id})
		}
	}
	if len(page) > limit {
		return page[:limit], true
	}
	return page, false
}

func (p *pile) Find(id string) (hub.Pending, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return hub.Pending{ID: id, Rank: id}, slices.Contains(p.ids, id)
}

func (p *pile) Hurry(id string) (hub.Pending, bool) {
	found, ok := p.Find(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok {
		p.hurried = append(p.hurried, id)
	}
	return found, ok
}

func (p *pile) Drop(id string) (hub.Pending, bool) {
	found, ok := p.Find(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ids = slices.DeleteFunc(p.ids, func(other string) bool { return other == id })
	return found, ok
}

func TestOutbox_PagesOfAllNodesAreOneList(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 7, 50} {
		a, b, _ := hubtest.Pair(t)
		here, there := &pile{}, &pile{}
		var want []string
		for i := range 20 {
			id := fmt.Sprintf("%02d", i)
			want = append(want, id)
			if i%3 == 0 {
				here.ids = append(here.ids, id)
			} else {
				there.ids = append(there.ids, id)
			}
		}
		a.SetOutbox(here)
		b.SetOutbox(there)
		var got []string
		for next := ""; ; {
			page, after, complete, err := a.ListWaiting(t.Context(), next, limit)
			if err != nil || !complete || len(page) > limit {
				t.Fatal(len(page), complete, err)
			}
			for _, p := range page {
				got = append(got, p.ID)
				if from := map[bool]string{true: a.NodeID(), false: b.NodeID()}[slices.Contains(here.ids, p.ID)]; p.Node != from {
					t.Errorf("%s is said to be on %s, not %s", p.ID, p.Node, from)
				}
			}
			if next = after; next == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %s", limit, strings.Join(got, " "))
		}
	}
}

func TestOutbox_OneEventIsFoundOnWhicheverNodeItIs(t *testing.T) {
	a, b, net := hubtest.Pair(t)
	there := &pile{ids: []string{"x", "y"}}
	b.SetOutbox(there) // a has none
	f := func(what string, do func(context.Context, string) (hub.Pending, bool, bool, error), id string, want bool) {
		t.Helper()
		p, found, complete, err := do(t.Context(), id)
		if found != want || !complete || err != nil || found && (p.ID != id || p.Node != b.NodeID()) {
			t.Errorf("%s %s: %+v, %v, %v, %v", what, id, p, found, complete, err)
		}
	}
	f("find", a.FindWaiting, "x", true)
	f("find", a.FindWaiting, "z", false)
	f("hurry", a.HurryWaiting, "x", true)
	f("hurry", b.HurryWaiting, "y", true)
	f("drop", a.DropWaiting, "x", true)
	f("drop", a.DropWaiting, "x", false)
	if !slices.Equal(there.hurried, []string{"x", "y"}) || !slices.Equal(there.ids, []string{"y"}) {
		t.Errorf("hurried %q, left %q", there.hurried, there.ids)
	}
	net.Set(func() { net.Down = true })
	if _, _, _, err := a.FindWaiting(t.Context(), "y"); err == nil {
		t.Error("without the broker nobody was asked")
	}
}
