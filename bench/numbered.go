package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// numbered is a stream of pushes to users, each with a number of its own, that
// remembers what became of each.
type numbered struct {
	nodes   []*poster // by worker and node
	made    []numberedPush
	arrived []atomic.Bool
	next    atomic.Int64
	failed  atomic.Int64 // refused by every node
	cancel  context.CancelFunc
	ended   chan error
}

type numberedPush struct {
	user       int
	sent, done time.Time // of the try that was answered
	delivered  int       // as the answer says
}

// newNumbered makes room for most pushes.
func newNumbered(most int) *numbered {
	return &numbered{made: make([]numberedPush, most), arrived: make([]atomic.Bool, most), ended: make(chan error, 1)}
}

// frame is a fleet's onFrame.
func (n *numbered) frame(_ int, payload []byte) {
	if i, err := strconv.Atoi(string(payload)); err == nil && i < len(n.arrived) {
		n.arrived[i].Store(true)
	}
}

// start pushes perSecond times a second to who says, through any of the nodes: the
// next one where one does not answer.
func (n *numbered) start(addrs []string, perSecond int, who func() int) {
	const workers = 64
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	for range workers {
		for _, a := range addrs {
			n.nodes = append(n.nodes, newPoster(a))
		}
	}
	go func() {
		n.ended <- paced(ctx, perSecond, workers, func(w int, _ time.Time) error {
			i := int(n.next.Add(1)) - 1
			if i >= len(n.made) {
				return fmt.Errorf("more than %d pushes", len(n.made))
			}
			n.push(i, n.nodes[w*len(addrs):(w+1)*len(addrs)], who())
			return nil
		})
	}()
}

func (n *numbered) push(i int, nodes []*poster, user int) {
	m := &n.made[i]
	m.user = user
	text := fmt.Appendf(nil, `{"to":{"users":["u%d"]},"text":"%d","wait":"1s"}`, user, i)
	for try := range 2 * len(nodes) { // a node that was restarted left a connection that is none any more
		p := nodes[(i+try)%len(nodes)]
		m.sent = time.Now()
		if p.post(text) != nil {
			continue
		}
		m.done = time.Now()
		var answer struct{ Delivered int }
		_ = json.Unmarshal(p.resp.Body(), &answer)
		m.delivered = answer.Delivered
		return
	}
	n.failed.Add(1)
}

func (n *numbered) stop() error {
	n.cancel()
	return <-n.ended
}

// verdict is what became of all pushes.
type verdict struct {
	made, refused  int
	arrived        int
	between        int // did not arrive; its user was not connected all the time
	missed, broken int // did not arrive though its user was, or though the answer says so
}

// judge counts; connected says whether the user of a push was connected while it
// was made, so that it had to arrive.
func (n *numbered) judge(connected func(p numberedPush) bool) (v verdict) {
	v.made, v.refused = int(n.next.Load()), int(n.failed.Load())
	for i := range v.made {
		p := n.made[i]
		switch {
		case p.done.IsZero():
		case n.arrived[i].Load():
			v.arrived++
		case p.delivered > 0:
			v.broken++
		case connected(p):
			v.missed++
		default:
			v.between++
		}
	}
	return v
}

func (v verdict) String() string {
	return fmt.Sprintf("%d pushes, %d arrived, %d fell between two connections of their user, %d missed a user that was connected, %d were said to be delivered and were not, %d refused",
		v.made, v.arrived, v.between, v.missed, v.broken, v.refused)
}

func (v verdict) err() error {
	if v.missed+v.broken+v.refused > 0 {
		return fmt.Errorf("pushes lost: %v", v)
	}
	return nil
}
