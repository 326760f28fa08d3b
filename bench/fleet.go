package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushcart/pushcart/internal/epoll"
)

// fleet is many WebSocket clients in one epoll loop, so that they cost little
// beside the server that is measured. It answers pings and Close frames.
type fleet struct {
	set    *epoll.Set
	frames atomic.Int64 // data frames received
	pings  atomic.Int64
	lost   atomic.Int64 // connections that the server ended
	// These are called with the client's id, also from the goroutine that dials.
	// onOpen comes before the others. onEnd tells the code of the server's Close
	// frame when it comes, or noClose when the connection ends without one; not for
	// a connection that said Close first.
	onFrame func(id int, payload []byte)
	onOpen  func(id int)
	onEnd   func(id, code int)
	// receive is the size of the clients' socket buffers, 0: the kernel's choice,
	// which for a client that does not read is megabytes on loopback.
	receive int
	done    sync.WaitGroup
	stopped atomic.Bool

	mu     sync.Mutex // guards all below, and writing to descriptors
	dialed int
	byFD   map[int]*client
	byID   map[int]*client // the newest of each id
}

// client is one connection of the fleet. Only the loop reads it.
type client struct {
	id, fd  int
	rest    []byte // of a frame that is not whole
	code    int    // of the server's Close frame
	leaving bool   // it said Close first
}

// noClose is the code of an end without Close frame.
const noClose = 1006

func newFleet(onFrame func(id int, payload []byte)) (*fleet, error) {
	set, err := epoll.New(512)
	if err != nil {
		return nil, err
	}
	f := &fleet{set: set, onFrame: onFrame, byFD: map[int]*client{}, byID: map[int]*client{}}
	f.done.Go(f.run)
	return f, nil
}

// dial adds n connections, at most 64 handshakes at once. Ids go on from those
// that were dialed before; header is added to the request.
func (f *fleet) dial(addr string, n int, header func(id int) string) error {
	first := f.dialed
	f.dialed += n
	errs := make(chan error, 64)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := f.open(addr, first+i, header(first+i)); err != nil {
					errs <- fmt.Errorf("connection %d: %w", first+i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// open adds one connection.
func (f *fleet) open(addr string, id int, header string) error {
	fd, early, err := handshake(addr, header, f.receive)
	if err != nil {
		return err
	}
	c := &client{id: id, fd: fd}
	f.mu.Lock()
	f.byFD[fd], f.byID[id] = c, c
	f.mu.Unlock()
	if f.onOpen != nil {
		f.onOpen(id)
	}
	c.rest = append([]byte(nil), f.take(c, early)...)
	return f.watch(c)
}

func (f *fleet) watch(c *client) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.fd < 0 {
		return nil
	}
	return f.set.Add(c.fd, unix.EPOLLIN, uint64(c.fd))
}

// pause stops the reading of a client's newest connection, resume undoes it.
func (f *fleet) pause(id int) {
	c := f.newest(id)
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.fd >= 0 {
		f.set.Remove(c.fd)
	}
}

func (f *fleet) resume(id int) { _ = f.watch(f.newest(id)) }

func (f *fleet) newest(id int) *client {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.byID[id]; c != nil {
		return c
	}
	return &client{fd: -1}
}

// leave says Close on a connection, and goes on reading until the server ends it.
func (f *fleet) leave(c *client) {
	f.mu.Lock()
	c.leaving = true
	f.mu.Unlock()
	f.write(c, []byte{0x88, 0x82, 0, 0, 0, 0, 1000 >> 8, 1000 & 0xff})
}

// say sends a text of less than 126 bytes on an id's newest connection.
func (f *fleet) say(id int, text string) {
	f.write(f.newest(id), append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...))
}

func (f *fleet) write(c *client, frame []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.fd >= 0 {
		_, _ = unix.Write(c.fd, frame)
	}
}

func (f *fleet) pinged() int64 { return f.pings.Load() }

// connections counts those that are open.
func (f *fleet) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.byFD)
}

func (f *fleet) run() {
	buf := make([]byte, 256<<10)
	for !f.stopped.Load() {
		events := f.set.Wait(100)
		for i := range events {
			f.mu.Lock()
			c := f.byFD[int(epoll.Data(&events[i]))]
			f.mu.Unlock()
			if c != nil {
				f.read(c, buf)
			}
		}
	}
}

func (f *fleet) read(c *client, buf []byte) {
	n, err := unix.Read(c.fd, buf)
	if n <= 0 {
		if err != unix.EAGAIN && err != unix.EINTR {
			f.drop(c)
		}
		return
	}
	b := buf[:n]
	if len(c.rest) > 0 {
		b = append(c.rest, b...)
	}
	c.rest = append([]byte(nil), f.take(c, b)...)
}

// drop gives up a connection that the server ended.
func (f *fleet) drop(c *client) {
	f.mu.Lock()
	delete(f.byFD, c.fd)
	if f.byID[c.id] == c {
		delete(f.byID, c.id)
	}
	_ = unix.Close(c.fd)
	c.fd = -1
	silent := !c.leaving && c.code == 0
	f.mu.Unlock()
	f.lost.Add(1)
	if silent && f.onEnd != nil {
		f.onEnd(c.id, noClose)
	}
}

// take handles the frames in b and returns what is left.
func (f *fleet) take(c *client, b []byte) []byte {
	for {
		op, payload, size := frame(b)
		if size == 0 {
			return b
		}
		switch op {
		case 1, 2:
			f.frames.Add(1)
			if f.onFrame != nil {
				f.onFrame(c.id, payload)
			}
		case 8:
			f.closed(c, payload)
		case 9:
			f.pings.Add(1)
			f.write(c, []byte{0x8a, 0x80, 0, 0, 0, 0})
		}
		b = b[size:]
	}
}

// closed answers the server's Close frame.
func (f *fleet) closed(c *client, payload []byte) {
	if len(payload) < 2 || c.code != 0 {
		return
	}
	c.code = int(payload[0])<<8 | int(payload[1])
	f.mu.Lock()
	leaving := c.leaving
	f.mu.Unlock()
	if leaving {
		return
	}
	f.write(c, []byte{0x88, 0x82, 0, 0, 0, 0, payload[0], payload[1]})
	if f.onEnd != nil {
		f.onEnd(c.id, c.code)
	}
}

func (f *fleet) close() {
	f.stopped.Store(true)
	f.done.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for fd := range f.byFD {
		_ = unix.Close(fd)
	}
	f.set.Close()
}

// awaitFrames returns when the fleet has read n data frames since it had before.
func (f *fleet) awaitFrames(before, n int64) error {
	if err := wait(func() bool { return f.frames.Load()-before >= n }); err != nil {
		return fmt.Errorf("%d of %d frames, %d connections were closed: %w", f.frames.Load()-before, n, f.lost.Load(), err)
	}
	if got := f.frames.Load() - before; got != n {
		return fmt.Errorf("%d frames, want %d", got, n)
	}
	return nil
}

// wait returns when cond holds; it gives up after a minute.
func wait(cond func() bool) error {
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("not reached within a minute")
		}
	}
	return nil
}
