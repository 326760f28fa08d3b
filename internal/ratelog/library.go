package ratelog

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// Library takes what a library prints: at most one WARN per kind of line and
// minute. It is fasthttp's Logger, go-redis's through WithContext, and, as an io.Writer,
// what a log.Logger writes to.
type Library struct {
	name string
	to   *Logger
}

// ForLibrary returns a Library that names itself name.
func ForLibrary(name string, log *slog.Logger) *Library {
	return &Library{name: name, to: New(log)}
}

// Printf is log.Printf. Lines of one format are one cause.
func (l *Library) Printf(format string, args ...any) {
	l.say(format, fmt.Sprintf(format, args...))
}

// Write takes one line of a log.Logger. What comes before the first digit, quote or
// bracket (an address, an error of somebody) is its cause.
func (l *Library) Write(line []byte) (int, error) {
	cause := string(line)
	if i := strings.IndexAny(cause, "0123456789[\"'\n"); i >= 0 {
		cause = cause[:i]
	}
	l.say(cause, string(line))
	return len(line), nil
}

func (l *Library) say(cause, text string) {
	l.to.Warn(cause, "library message", "library", l.name, "text", strings.TrimSpace(text))
}

// WithContext is a Library for callers that pass a context first.
type WithContext struct{ *Library }

// Printf is Library.Printf.
func (l WithContext) Printf(_ context.Context, format string, args ...any) {
	l.Library.Printf(format, args...)
}
