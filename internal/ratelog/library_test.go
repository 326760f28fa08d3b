package ratelog_test

import (
	"bytes"
	"context"
	"errors"
	"log"
	"log/slog"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/ratelog"
)

func TestLibrary_LogsOneLinePerKindOfMessage(t *testing.T) {
	var out bytes.Buffer
	l := ratelog.ForLibrary("redis", slog.New(slog.NewTextHandler(&out, nil)))
	for _, err := range []string{"refused", "timeout"} {
		l.Printf("pool: %v", errors.New(err))
		ratelog.WithContext{Library: l}.Printf(context.Background(), "pubsub: %v", err)
	}
	std := log.New(l, "", 0)
	for _, peer := range []string{"[::1]:4", "10.0.0.1:5"} {
		std.Printf("http: TLS handshake error from %s: EOF", peer)
		std.Print("http: panic serving " + peer + ": oops\ngoroutine 1")
	}
	if n := strings.Count(out.String(), "\n"); n != 4 {
		t.Errorf("got %d lines, want 4:\n%s", n, &out)
	}
	for _, want := range []string{`level=WARN`, `library=redis`, `text="pool: refused"`, `text="pubsub: refused"`, `[::1]:4: EOF"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in:\n%s", want, &out)
		}
	}
}
