package ws

import "testing"

// What wakes a poller is closed at its end.
func TestLoop_IsNeverWokenAfterItsEnd(t *testing.T) {
	l := newLoop()
	over, woken := false, 0
	l.wake = func() {
		woken++
		if l.mu.TryLock() {
			l.mu.Unlock()
			t.Error("it is woken without its lock, so that it may end meanwhile")
		}
		if over {
			t.Error("it is woken after its end")
		}
	}
	c := &Conn{loop: l}
	wait := func() { // what its goroutine does, until it waits
		for {
			due, _, end := l.take(nil)
			over = over || end
			if len(due) == 0 {
				return
			}
		}
	}
	wait()
	if !l.add(c, 5) {
		t.Error("it takes no connection")
	}
	wait()
	l.schedule(c, 1)
	wait()
	l.post(c)
	wait()
	l.remove(c)
	l.stop()
	if woken != 4 {
		t.Errorf("it was woken %d times, want 4", woken)
	}
	wait()
	if !over {
		t.Fatal("it does not end")
	}
	if l.add(c, 0) {
		t.Error("it takes a connection that nobody would attend")
	}
	l.post(c)
	l.schedule(c, 0)
	l.stop()
}
