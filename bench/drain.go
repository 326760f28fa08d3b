package main

import (
	"fmt"
	"sync"
	"syscall"
	"time"
)

// drain shows an orderly end: every connection gets its Close frame with 1012,
// evenly over shutdown.drain, the app hears of each, and the process ends in time.
func drain(o options) error {
	const connections, window, webhookTimeout = 15_000, 10 * time.Second, 5 * time.Second
	b, err := newBackend()
	if err != nil {
		return err
	}
	defer b.close()
	s, err := start(o, anonymous, b.config("disconnected"), fmt.Sprintf("shutdown: {drain: %v}", window))
	if err != nil {
		return err
	}
	defer s.stop()
	ends := &endings{codes: map[int]int{}}
	f, err := newFleet(nil)
	if err != nil {
		return err
	}
	defer f.close()
	f.onEnd = ends.note
	if err := f.dial(s.public, connections, noHeader); err != nil {
		return err
	}
	before, begin := s.cpu(), time.Now()
	ends.begin = begin
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	cpu := s.cpuUntilEnd(before)
	if err := s.await(window + webhookTimeout + time.Second); err != nil {
		return fmt.Errorf("the process did not end well within %v: %w", window+webhookTimeout+time.Second, err)
	}
	took := time.Since(begin)
	if err := wait(func() bool { return f.connections() == 0 }); err != nil {
		return err
	}
	least, most := ends.perSecond()
	fmt.Printf("drain: %d of %d connections closed with 1012 within %.1f s, %d to %d each second; %d disconnected webhooks with cause drain, %d repeated; exit 0 after %.1f s; %.0f CPU-µs per connection\n",
		ends.codes[1012], connections, ends.last.Seconds(), least, most, b.count("disconnected", "drain"), b.again,
		took.Seconds(), micros(<-cpu)/connections)
	if ends.codes[1012] != connections || b.count("disconnected", "drain") != connections {
		return fmt.Errorf("want %d of both; close codes were %v", connections, ends.codes)
	}
	return nil
}

// cpuUntilEnd goes on reading the CPU that a process used since before, as there
// is none to read once it ended.
func (s *server) cpuUntilEnd(before time.Duration) <-chan time.Duration {
	used := make(chan time.Duration, 1)
	go func() {
		last := before
		for now := before; now >= last; now = s.cpu() {
			last = now
			time.Sleep(10 * time.Millisecond)
		}
		used <- last - before
	}()
	return used
}

// endings notes when and how connections end.
type endings struct {
	begin time.Time

	mu    sync.Mutex // guards all below
	codes map[int]int
	count []int // by tenth of a second
	last  time.Duration
}

func (e *endings) note(_, code int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.codes[code]++
	e.last = time.Since(e.begin)
	for at := int(e.last / (100 * time.Millisecond)); len(e.count) <= at; {
		e.count = append(e.count, 0)
	}
	e.count[e.last/(100*time.Millisecond)]++
}

// perSecond is the least and the most that ended in any whole second, the last,
// which is not whole, left out.
func (e *endings) perSecond() (least, most int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := 0; i+10 <= len(e.count)-1; i++ {
		n := 0
		for _, c := range e.count[i : i+10] {
			n += c
		}
		if least == 0 || n < least {
			least = n
		}
		most = max(most, n)
	}
	return least, most
}
