package main

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// roamers are users, one connection each, that come back with jitter to any node
// when theirs ends.
type roamers struct {
	fleet  *fleet
	nodes  []string      // public addresses
	dials  chan struct{} // bounds handshakes at once
	opened atomic.Int64  // 101s seen
	coming sync.WaitGroup
	over   atomic.Bool

	mu    sync.Mutex // guards all below
	stays [][]stay   // by user, in order
	codes map[int]int
}

// stay is from when to when a user was connected, as its client saw it: from the
// 101 to the Close frame.
type stay struct{ from, to time.Time }

// backAfter is how long a client waits at most before it dials again.
const backAfter = time.Second

func newRoamers(users int, nodes []string, onFrame func(int, []byte)) (*roamers, error) {
	f, err := newFleet(onFrame)
	if err != nil {
		return nil, err
	}
	r := &roamers{
		fleet: f, nodes: nodes, dials: make(chan struct{}, 64), stays: make([][]stay, users), codes: map[int]int{},
	}
	f.onOpen, f.onEnd = r.began, r.ended
	for id := range users {
		r.coming.Go(func() { r.come(id) })
	}
	return r, nil
}

// come connects a user, however often it takes.
func (r *roamers) come(id int) {
	for !r.over.Load() {
		r.dials <- struct{}{}
		err := r.fleet.open(r.nodes[rand.IntN(len(r.nodes))], id, userHeader(id))
		<-r.dials
		if err == nil {
			return
		}
		time.Sleep(rand.N(backAfter))
	}
}

func (r *roamers) began(id int) {
	r.opened.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stays[id] = append(r.stays[id], stay{from: time.Now()})
}

func (r *roamers) ended(id, code int) {
	r.mu.Lock()
	r.codes[code]++
	s := r.stays[id]
	s[len(s)-1].to = time.Now()
	r.mu.Unlock()
	r.coming.Go(func() {
		time.Sleep(rand.N(backAfter))
		r.come(id)
	})
}

// stayed says whether a user was connected during all of a time.
func (r *roamers) stayed(id int, from, to time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.stays[id] {
		if s.from.Before(from) && (s.to.IsZero() || s.to.After(to)) {
			return true
		}
	}
	return false
}

func (r *roamers) close() {
	r.over.Store(true)
	r.coming.Wait()
	r.fleet.close()
}
