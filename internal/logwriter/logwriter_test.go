package logwriter_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushcart/pushcart/internal/leak"
	"github.com/pushcart/pushcart/internal/logwriter"
)

func TestMain(m *testing.M) { leak.Main(m) }

// gate is a reader of the log that a test stops, breaks and lets go.
type gate struct {
	entered chan struct{} // a write began
	open    chan error    // one value per write: its outcome
	mu      sync.Mutex    // guards got
	got     bytes.Buffer
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 16), open: make(chan error)} }

func (g *gate) Write(p []byte) (int, error) {
	g.entered <- struct{}{}
	if err := <-g.open; err != nil {
		return 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got.Write(p)
}

func (g *gate) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got.String()
}

const patience = 20 * time.Second

func ends(t *testing.T, w *logwriter.Writer) {
	t.Helper()
	if !w.Close(patience) {
		t.Fatal("Close gave up")
	}
}

func TestWriter_WritesLinesInOrderAndAllOfThemAtClose(t *testing.T) {
	var out bytes.Buffer
	w := logwriter.New(&out)
	var want strings.Builder
	for i := range 5000 {
		fmt.Fprintf(w, "line %d\n", i)
		fmt.Fprintf(&want, "line %d\n", i)
	}
	ends(t, w)
	if out.String() != want.String() || w.Dropped() != 0 {
		t.Errorf("got %d bytes and %d dropped, want %d and none", out.Len(), w.Dropped(), want.Len())
	}
}

func TestWriter_DropsWholeLinesWhileNobodyReadsAndSaysHowMany(t *testing.T) {
	g := newGate()
	w := logwriter.New(g)
	w.OnDrop(func(n uint64) { fmt.Fprintf(w, "%d lines lost\n", n) })
	line := strings.Repeat("x", 1023) + "\n"
	fmt.Fprint(w, line)
	<-g.entered // stuck with the first
	for range 1024 + 7 {
		fmt.Fprint(w, line)
	}
	if got := w.Dropped(); got != 7 {
		t.Errorf("%d lines dropped, want 7", got)
	}
	close(g.open)
	ends(t, w)
	if got, want := g.String(), strings.Repeat(line, 1025)+"7 lines lost\n"; got != want {
		t.Errorf("got %d bytes ending in %q, want %d ending in the report", len(got), got[max(0, len(got)-40):], len(want))
	}
}

func TestWriter_CountsWhatCannotBeWrittenAndReportsOnceItCan(t *testing.T) {
	g := newGate()
	w := logwriter.New(g)
	w.OnDrop(func(n uint64) { fmt.Fprintf(w, "%d lines lost\n", n) })
	for range 3 {
		fmt.Fprint(w, "lost\n")
		<-g.entered
		g.open <- errors.New("broken pipe")
	}
	fmt.Fprint(w, "good\n")
	<-g.entered
	if got := w.Dropped(); got != 3 {
		t.Errorf("%d lines dropped, want 3", got)
	}
	close(g.open)
	ends(t, w)
	if got := g.String(); got != "good\n3 lines lost\n" {
		t.Errorf("got %q", got)
	}
}

func TestClose_GivesUpOnAReaderThatDoesNotRead(t *testing.T) {
	g := newGate()
	w := logwriter.New(g)
	fmt.Fprint(w, "last words\n")
	<-g.entered
	if w.Close(10 * time.Millisecond) {
		t.Error("Close says that all was written")
	}
	fmt.Fprint(w, "after the end\n") // harmless
	close(g.open)
	ends(t, w)
	if got := g.String(); !strings.HasPrefix(got, "last words\n") {
		t.Errorf("got %q", got)
	}
}

func TestLazy_WritesManyLinesAtOnceAndAllOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &writes{}
		w := logwriter.New(out)
		began := time.Now()
		for i := range 100 {
			fmt.Fprintf(w.Lazy(), "lazy %d\n", i)
			time.Sleep(time.Millisecond) // of the bubble
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(out.got); n != 1 && n != 2 {
			t.Errorf("%d writes of 100 lines in %v", n, time.Since(began))
		}
		fmt.Fprint(w.Lazy(), "before\n")
		fmt.Fprint(w, "a line that somebody waits for\n")
		synctest.Wait()
		if got := out.got[len(out.got)-1]; got != "before\na line that somebody waits for\n" {
			t.Errorf("got %q", got)
		}
		fmt.Fprint(w.Lazy(), "last words\n")
		ends(t, w)
		if got := strings.Join(out.got, ""); !strings.HasSuffix(got, "last words\n") || strings.Count(got, "\n") != 103 {
			t.Errorf("got %q", got)
		}
	})
}

func TestLazy_ManyBytesDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &writes{}
		w := logwriter.New(out)
		line := strings.Repeat("x", 1023) + "\n"
		for range 32 {
			fmt.Fprint(w.Lazy(), line)
		}
		synctest.Wait()
		if len(out.got) != 1 {
			t.Errorf("%d writes, want one at 32 KiB", len(out.got))
		}
		ends(t, w)
	})
}

// writes remembers each.
type writes struct{ got []string }

func (w *writes) Write(p []byte) (int, error) {
	w.got = append(w.got, string(p))
	return len(p), nil
}
