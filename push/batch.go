package push

import (
	"context"
	"sync"
)

// published is what became of one push of a batch.
type published struct {
	result Result
	err    error
}

// batchWorkers is how many pushes of one batch are under way at once.
const batchWorkers = 16

// publishAll publishes a batch. Pushes that share a destination keep their order;
// others need not wait for each other.
func (h *Hub) publishAll(ctx context.Context, pushes []*Push) []published {
	out := make([]published, len(pushes))
	var wg sync.WaitGroup
	slots := make(chan struct{}, batchWorkers)
	for _, chain := range chains(pushes) {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			for _, i := range chain {
				out[i].result, out[i].err = h.Publish(ctx, pushes[i])
			}
		})
	}
	wg.Wait()
	return out
}

// chains groups pushes such that two with a destination in common are in one
// group, in their order.
func chains(pushes []*Push) [][]int {
	root := make([]int, len(pushes))
	var find func(int) int
	find = func(i int) int {
		if root[i] != i {
			root[i] = find(root[i])
		}
		return root[i]
	}
	owner := map[string]int{}
	for i, p := range pushes {
		root[i] = i
		for _, key := range p.to.keys() {
			if j, ok := owner[key]; ok {
				root[find(i)] = find(j)
			} else {
				owner[key] = i
			}
		}
	}
	groups := map[int]int{}
	var out [][]int
	for i := range pushes {
		r := find(i)
		g, ok := groups[r]
		if !ok {
			g = len(out)
			groups[r] = g
			out = append(out, nil)
		}
		out[g] = append(out[g], i)
	}
	return out
}

// keys are the destinations that need an order.
func (t *targets) keys() []string {
	var keys []string
	for _, u := range t.users {
		keys = append(keys, userTopic+u)
	}
	for _, c := range t.channels {
		keys = append(keys, channelTopic+c)
	}
	for _, c := range t.connections {
		keys = append(keys, nodeTopic+c)
	}
	if t.all {
		keys = append(keys, topicAll)
	}
	return keys
}
