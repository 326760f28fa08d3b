package guard

import (
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/pushcart/pushcart/internal/ratelog"
)

// Guard takes panics. Its methods may be called concurrently.
type Guard struct {
	log   *ratelog.Logger
	count func()
}

// New returns a Guard that logs to log, and calls count for each panic unless it is
// nil.
func New(log *slog.Logger, count func()) *Guard {
	if count == nil {
		count = func() {}
	}
	return &Guard{log: ratelog.New(log), count: count}
}

// Recover is deferred. After a panic it calls end, unless it is nil, to end what the
// panic happened in; where says what that is.
func (g *Guard) Recover(where string, end func()) {
	r := recover()
	if r == nil {
		return
	}
	g.report(where, r)
	if end != nil {
		g.Run(where+", ending it", end)
	}
}

// Run calls f and takes its panic.
func (g *Guard) Run(where string, f func()) {
	defer g.Recover(where, nil)
	f()
}

// Loop calls f until it returns without a panic.
func (g *Guard) Loop(where string, f func()) {
	for done := false; !done; {
		g.Run(where, func() {
			f()
			done = true
		})
	}
}

func (g *Guard) report(where string, r any) {
	g.count()
	g.log.Error(where+" "+origin(), "panic", "where", where, "err", fmt.Sprint(r), "stack", string(debug.Stack()))
}

// origin is the line of code that panicked.
func origin() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for panicking := false; ; {
		f, more := frames.Next()
		switch inRuntime := strings.HasPrefix(f.Function, "runtime."); {
		case f.Function == "runtime.gopanic":
			panicking = true
		case panicking && !inRuntime:
			return f.File + ":" + strconv.Itoa(f.Line)
		}
		if !more {
			return ""
		}
	}
}
