package proxy_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/pushcart/pushcart/internal/testkit"
)

// logBook keeps log lines. It fails its test for a value with a line break in it:
// what reads the log takes a line for an event.
type logBook struct {
	t *testing.T

	mu    sync.Mutex // guards lines
	lines []string
}

func (b *logBook) Enabled(context.Context, slog.Level) bool { return true }
func (b *logBook) WithAttrs([]slog.Attr) slog.Handler       { return b }
func (b *logBook) WithGroup(string) slog.Handler            { return b }

func (b *logBook) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		if value := a.Value.String(); strings.ContainsAny(value, "\r\n") && a.Key != "stack" {
			b.t.Errorf("log value with a line break: %s=%q", a.Key, value)
		}
		line += " " + a.String()
		return true
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
	return nil
}

// with returns the lines that have all of parts.
func (b *logBook) with(parts ...string) (found []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
next:
	for _, l := range b.lines {
		for _, p := range parts {
			if !strings.Contains(l, p) {
				continue next
			}
		}
		found = append(found, l)
	}
	return found
}

// wantsLog waits for a line with all of parts; there must be no second one.
func (r *rig) wantsLog(parts ...string) {
	r.t.Helper()
	testkit.Eventually(r.t, "a log line with "+strings.Join(parts, ", "), func() bool { return len(r.log.with(parts...)) > 0 })
	if all := r.log.with(parts...); len(all) > 1 {
		r.t.Errorf("more than one line: %q", all)
	}
}
