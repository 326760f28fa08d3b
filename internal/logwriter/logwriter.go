package logwriter

import (
	"bytes"
	"io"
	"sync"
	"time"
)

const (
	// maxPending bounds the bytes that wait: some thousands of lines.
	maxPending = 1 << 20
	// maxKept is how large a buffer is kept for the next lines.
	maxKept = 64 << 10
	// Lazy lines wait until there are so many bytes, or for so long.
	lazyBytes = 32 << 10
	lazyWait  = 100 * time.Millisecond
)

// Writer is an io.Writer in front of one that may block or fail.
type Writer struct {
	to   io.Writer
	wake chan struct{} // something is pending; closed by Close
	done chan struct{} // the goroutine ended

	mu      sync.Mutex // guards all below
	pending []byte     // whole lines
	dropped uint64
	untold  uint64 // of dropped, those that report was not called for
	report  func(lines uint64)
	closed  bool
	later   *time.Timer // wakes for lazy lines; nil before the first
	waits   bool        // it is set
}

// New returns a Writer to to. Close ends its goroutine.
func New(to io.Writer) *Writer {
	w := &Writer{to: to, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go w.run()
	return w
}

// Write takes p, one or more whole lines, or drops it. It never fails: whoever
// logs can do nothing about it.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.takeLocked(p) {
		w.wakeLocked()
	}
	return len(p), nil
}

// Lazy is a Writer's other door, for lines that come many at a time and in which
// nobody waits: they are written together, after a tenth of a second at the latest.
type Lazy struct{ w *Writer }

// Lazy returns it. The order of all lines stays that of their writing.
func (w *Writer) Lazy() Lazy { return Lazy{w} }

// Write is [Writer.Write].
func (l Lazy) Write(p []byte) (int, error) {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.takeLocked(p):
	case len(w.pending) >= lazyBytes:
		w.wakeLocked()
	case !w.waits:
		w.waits = true
		if w.later == nil {
			w.later = time.AfterFunc(lazyWait, w.wakeLater)
		} else {
			w.later.Reset(lazyWait)
		}
	}
	return len(p), nil
}

func (w *Writer) wakeLater() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waits = false
	w.wakeLocked()
}

// takeLocked says whether there was room for p.
func (w *Writer) takeLocked(p []byte) bool {
	if len(w.pending)+len(p) > maxPending {
		w.dropLocked(p)
		return false
	}
	w.pending = append(w.pending, p...)
	return true
}

func (w *Writer) wakeLocked() {
	if w.closed {
		return
	}
	select {
	case w.wake <- struct{}{}:
	default: // it was woken before
	}
}

// dropLocked counts lines that are lost, the rest of a broken one included.
func (w *Writer) dropLocked(p []byte) {
	lines := uint64(bytes.Count(p, []byte("\n")))
	if len(p) > 0 && p[len(p)-1] != '\n' {
		lines++
	}
	w.dropped += lines
	w.untold += lines
}

// Dropped is how many lines were lost.
func (w *Writer) Dropped() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

// OnDrop sets what is called, from the Writer's goroutine, with the number of lines
// that were dropped, as soon as lines can be written again. It may write to w.
func (w *Writer) OnDrop(report func(lines uint64)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report = report
}

func (w *Writer) run() {
	defer close(w.done)
	var free []byte
	ok := true // the last write went well
	for range w.wake {
		for busy := true; busy; {
			lines, lost, report := w.take(free, ok)
			if lost > 0 {
				report(lost) // its line is written behind these, which are older
			}
			if len(lines) > 0 {
				ok = w.put(lines)
			}
			busy = lost > 0 || len(lines) > 0
			if free = lines[:0]; cap(free) > maxKept {
				free = nil
			}
		}
	}
}

// take returns what is pending, whose place free takes, and how many lines were
// lost before: 0 while nothing can be written or nobody asked for reports.
func (w *Writer) take(free []byte, ok bool) (lines []byte, lost uint64, report func(uint64)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines, w.pending = w.pending, free
	if ok && w.report != nil {
		lost, w.untold = w.untold, 0
	}
	return lines, lost, w.report
}

// put writes lines; what cannot be written counts as dropped.
func (w *Writer) put(lines []byte) (ok bool) {
	n, err := w.to.Write(lines)
	if err == nil {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropLocked(lines[min(max(n, 0), len(lines)):])
	return false
}

// Close writes what is pending, at most for so long: a reader that does not read
// must not hold up the end of the process. It says whether all was written; if not,
// the goroutine is left to the end of the process.
func (w *Writer) Close(within time.Duration) bool {
	w.mu.Lock()
	if !w.closed {
		w.wakeLocked() // for lazy lines
		w.closed = true
		if w.later != nil {
			w.later.Stop()
		}
		close(w.wake)
	}
	w.mu.Unlock()
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-w.done:
		return true
	case <-t.C:
		return false
	}
}
