package ratelog

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// Window is how long a cause stays silent after one of its lines.
	Window = time.Minute
	// maxCauses bounds the table. Causes are made from event names, statuses and
	// configuration keys, never from what a client sends, so it is rarely reached;
	// what does not fit shares one entry.
	maxCauses = 1024
	overflow  = "\x00overflow"
)

// Logger wraps a slog.Logger.
type Logger struct {
	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex // guards causes
	causes map[string]*cause
}

type cause struct {
	last   time.Time
	silent int // lines left out since last
}

// New returns a Logger that writes to log.
func New(log *slog.Logger) *Logger {
	return &Logger{log: log, now: time.Now, causes: map[string]*cause{}}
}

// Warn logs at level WARN unless cause was logged within the last minute. args are
// slog's. Where lines were left out, the line ends with repeated=N.
//
// cause must come from a bounded set. args must name the key to look at and must
// not carry a token's or a payload's value.
func (l *Logger) Warn(cause, message string, args ...any) {
	l.at(slog.LevelWarn, cause, message, args)
}

// Info is Warn at level INFO, for the end of what was warned of.
func (l *Logger) Info(cause, message string, args ...any) {
	l.at(slog.LevelInfo, cause, message, args)
}

// Error is Warn at level ERROR.
func (l *Logger) Error(cause, message string, args ...any) {
	l.at(slog.LevelError, cause, message, args)
}

func (l *Logger) at(level slog.Level, cause, message string, args []any) {
	silent, ok := l.admit(cause)
	if !ok {
		return
	}
	if silent > 0 {
		args = append(args[:len(args):len(args)], "repeated", silent)
	}
	l.log.Log(context.Background(), level, message, args...)
}

// admit says whether cause may be logged now, and how many of it were left out.
func (l *Logger) admit(name string) (silent int, ok bool) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.causes[name]
	if c == nil {
		if len(l.causes) >= maxCauses {
			l.sweepLocked(now)
		}
		if len(l.causes) >= maxCauses {
			name = overflow
			c = l.causes[name]
		}
	}
	if c == nil {
		l.causes[name] = &cause{last: now}
		return 0, true
	}
	if now.Sub(c.last) < Window {
		c.silent++
		return 0, false
	}
	silent = c.silent
	c.last, c.silent = now, 0
	return silent, true
}

// sweepLocked forgets the causes that may speak again and left nothing out.
func (l *Logger) sweepLocked(now time.Time) {
	for name, c := range l.causes {
		if c.silent == 0 && now.Sub(c.last) >= Window {
			delete(l.causes, name)
		}
	}
}
