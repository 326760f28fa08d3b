package ratelog

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"
)

func rig() (l *Logger, out *bytes.Buffer, pass func(time.Duration)) {
	out = &bytes.Buffer{}
	l = New(slog.New(slog.NewTextHandler(out, nil)))
	now := time.Unix(1e9, 0)
	l.now = func() time.Time { return now }
	return l, out, func(d time.Duration) { now = now.Add(d) }
}

func TestWarn_LogsOneLinePerCauseAndMinute(t *testing.T) {
	l, out, pass := rig()
	for range 3 {
		l.Warn("a", "refused", "key", "webhook.secrets")
	}
	l.Warn("b", "other")
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Fatalf("got %d lines:\n%s", n, out)
	}
	pass(Window)
	out.Reset()
	l.Warn("a", "refused", "key", "webhook.secrets")
	if got := out.String(); !strings.Contains(got, "key=webhook.secrets repeated=2") || !strings.Contains(got, "level=WARN") {
		t.Errorf("got %q", got)
	}
	pass(Window)
	out.Reset()
	l.Error("a", "refused")
	if got := out.String(); strings.Contains(got, "repeated") || !strings.Contains(got, "level=ERROR") {
		t.Errorf("got %q", got)
	}
}

func TestWarn_ManyCausesStayBounded(t *testing.T) {
	l, out, pass := rig()
	for i := range 3 * maxCauses {
		l.Warn(strconv.Itoa(i), "refused")
	}
	if len(l.causes) > maxCauses+1 {
		t.Errorf("%d causes", len(l.causes))
	}
	if n := strings.Count(out.String(), "\n"); n != maxCauses+1 {
		t.Errorf("got %d lines", n)
	}
	pass(Window)
	out.Reset()
	l.Warn("new", "refused")
	if !strings.Contains(out.String(), "refused") {
		t.Error("a new cause stayed silent after a sweep")
	}
}
