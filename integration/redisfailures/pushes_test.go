package redisfailures

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/sidecartest"
)

const (
	keptChannels  = 5
	quiet         = keptChannels - 1 // is pushed to once, while Redis is broken or as soon as it is not
	plainChannels = 2
	// pushEvery is how often each node is pushed to.
	pushEvery = 25 * time.Millisecond
)

func kept(i int) string  { return fmt.Sprint("kept.", i) }
func plain(i int) string { return fmt.Sprint("plain.", i) }

// pushes is the truth about what was pushed: those to channels with history are repeated
// until they are confirmed, all others are tried once.
type pushes struct {
	// prompt: an answer comes within 3 s.
	prompt  bool
	numbers atomic.Int64
	stop    chan struct{}
	work    sync.WaitGroup

	mu    sync.Mutex                   // guards all below
	posts map[string]map[int]confirmed // by channel
	plain map[string][]int             // confirmed
}

// confirmed is where a message is, and when that was said.
type confirmed struct {
	place
	at time.Time
}

func startPushes(t *testing.T, nodes []*sidecartest.Sidecar, prompt bool) *pushes {
	p := &pushes{prompt: prompt, stop: make(chan struct{}), posts: map[string]map[int]confirmed{}, plain: map[string][]int{}}
	for _, n := range nodes {
		p.work.Go(func() { p.keep(t, n) })
		p.work.Go(func() { p.try(t, n) })
	}
	t.Cleanup(p.end)
	return p
}

// end returns when nothing is under way.
func (p *pushes) end() {
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	p.work.Wait()
}

func (p *pushes) each(do func()) {
	tick := time.NewTicker(2 * pushEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			do()
		}
	}
}

// keep pushes to channels with history.
func (p *pushes) keep(t *testing.T, n *sidecartest.Sidecar) {
	p.each(func() { p.insist(t, n, kept(rand.IntN(quiet))) })
}

// insist pushes to a channel with history until that is confirmed.
func (p *pushes) insist(t *testing.T, n *sidecartest.Sidecar, channel string) {
	number := int(p.numbers.Add(1))
	body := fmt.Sprintf(`{"to":{"channels":[%q]},"data":%d,"id":"n%d"}`, channel, number, number)
	for end := time.Now().Add(2 * time.Minute); ; {
		status, answer := n.API("POST", "/v1/push", body)
		var a struct{ Positions map[string]place }
		if status == http.StatusOK {
			if err := json.Unmarshal([]byte(answer), &a); err != nil || a.Positions["channel:"+channel].Offset == 0 {
				t.Errorf("push %d: %s", number, answer)
			}
			p.note(channel, number, a.Positions["channel:"+channel])
			return
		}
		if status != http.StatusServiceUnavailable || time.Now().After(end) {
			t.Errorf("push %d: %d %s", number, status, answer)
			return
		}
		<-time.After(pushEvery)
	}
}

func (p *pushes) note(channel string, number int, at place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.posts[channel] == nil {
		p.posts[channel] = map[int]confirmed{}
	}
	p.posts[channel][number] = confirmed{at, time.Now()}
}

// try pushes to channels without history.
func (p *pushes) try(t *testing.T, n *sidecartest.Sidecar) {
	p.each(func() {
		channel, number := plain(rand.IntN(plainChannels)), int(p.numbers.Add(1))
		began := time.Now()
		status, answer := n.API("POST", "/v1/push", fmt.Sprintf(`{"to":{"channels":[%q]},"data":%d}`, channel, number))
		if d := time.Since(began); p.prompt && d > late(3*time.Second) {
			t.Errorf("a push took %v, want at most 3 s", d)
		}
		switch status {
		case http.StatusOK:
			p.mu.Lock()
			p.plain[channel] = append(p.plain[channel], number)
			p.mu.Unlock()
		case http.StatusServiceUnavailable:
		default:
			t.Errorf("push %d: %d %s", number, status, answer)
		}
	})
}

// missing counts what was confirmed and did not come to every reader: of channels without
// history, and of those with it.
func (p *pushes) missing(readers []*client) (plainLost, keptLost int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range keptChannels {
		numbers := make([]int, 0, len(p.posts[kept(i)]))
		for n := range p.posts[kept(i)] {
			numbers = append(numbers, n)
		}
		keptLost += lacking(readers, kept(i), numbers)
	}
	for i := range plainChannels {
		plainLost += lacking(readers, plain(i), p.plain[plain(i)])
	}
	return plainLost, keptLost
}

// owed counts what a reader did not get and cannot have been lost.
func (p *pushes) owed(r *rig) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for channel, posts := range p.posts {
		var numbers []int
		for number, post := range posts {
			if !r.mayHaveLost(channel, post.at) {
				numbers = append(numbers, number)
			}
		}
		n += lacking(r.readers, channel, numbers)
	}
	return n
}

// lacking counts the numbers that at least one reader of a channel did not get.
func lacking(readers []*client, channel string, numbers []int) (n int) {
	came := map[int]int{}
	for _, r := range readers {
		_, got := r.messages(channel)
		for _, m := range got {
			if !m.gap {
				came[m.number]++
			}
		}
	}
	for _, number := range numbers {
		if came[number] < len(readers) {
			n++
		}
	}
	return n
}

// check holds what a reader got to the order of the positions, and the gaps that it was
// told to what the failure lost.
func (p *pushes) check(rig *rig, r *client) (gaps int) {
	t, f := rig.t, rig.failure
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range keptChannels {
		channel, told := kept(i), 0
		at, got := r.messages(channel)
		seen, next := map[int]bool{}, at.Offset+1
		for _, m := range got {
			where, known := p.posts[channel][m.number]
			switch {
			case m.gap:
				told++
				next = m.offset + 1
				continue
			case !known:
				t.Errorf("%s, %s: %d was never confirmed", r.user, channel, m.number)
			case seen[m.number]:
				t.Errorf("%s, %s: %d came twice", r.user, channel, m.number)
			case where.Offset != m.offset:
				t.Errorf("%s, %s: %d is at %d, its push said %d", r.user, channel, m.number, m.offset, where.Offset)
			case m.offset != next:
				t.Errorf("%s, %s: offset %d where %d is next, and no gap", r.user, channel, m.offset, next)
			}
			seen[m.number], next = true, m.offset+1
		}
		if f.lossy && told == 0 {
			t.Errorf("%s, %s: Redis lost everything, and no gap", r.user, channel)
		} else if !rig.mayLose(channel) && told > 0 {
			t.Errorf("%s, %s: %d gaps where nothing was lost", r.user, channel, told)
		}
		gaps += told
		for number, post := range p.posts[channel] {
			if !seen[number] && !rig.mayHaveLost(channel, post.at) {
				t.Errorf("%s, %s: %d at %d did not come, confirmed %v after Redis broke, %v after it was back", r.user, channel, number, post.Offset, post.at.Sub(rig.brokeAt), post.at.Sub(rig.backAt))
				break
			}
		}
	}
	return gaps
}
