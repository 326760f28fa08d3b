package testkit

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a condition may take. It is only used up where a test
// fails, so it fits a machine that does much else.
const patience = 30 * time.Second

// Until waits for a condition and says whether it came to hold.
func Until(ok func() bool) bool {
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			return false
		}
		<-time.After(time.Millisecond)
	}
	return true
}

// Eventually waits for a condition, or fails the test.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !Until(ok) {
		t.Fatalf("not within %v: %s", patience, what)
	}
}

// Log is a log that a test reads while others write it. The zero value is empty.
type Log struct {
	mu sync.Mutex // guards b
	b  strings.Builder
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is what was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Take is String, and forgets it.
func (l *Log) Take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

// Has says whether the text was written.
func (l *Log) Has(text string) bool { return strings.Contains(l.String(), text) }

// Await waits for a text, or fails the test.
func (l *Log) Await(t testing.TB, text string) {
	t.Helper()
	if !Until(func() bool { return l.Has(text) }) {
		t.Fatalf("no %q within %v in:\n%s", text, patience, l)
	}
}

// Lines counts what was logged.
func (l *Log) Lines() int { return strings.Count(l.String(), "\n") }

// Logger writes to w as text.
func Logger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// Metric reads one value, by its name with labels, from what /metrics serves.
func Metric(t testing.TB, handler http.Handler, name string) float64 {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
