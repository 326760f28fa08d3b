package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/accesslog"
)

func TestHandler_KeepsTheRulesOfSlog(t *testing.T) {
	var out bytes.Buffer
	results := func() (all []map[string]any) {
		for line := range strings.Lines(out.String()) {
			one := map[string]any{}
			if err := json.Unmarshal([]byte(line), &one); err != nil {
				t.Fatal(err)
			}
			all = append(all, one)
		}
		return all
	}
	h := newLogs(&out, &out, config.Log{Level: "debug", Format: "json"}).handler
	if err := slogtest.TestHandler(h, results); err != nil {
		t.Error(err)
	}
}

func TestLogs_FormatAndLevelChangeForAllThatAreMadeOfThem(t *testing.T) {
	var out bytes.Buffer
	l := newLogs(&out, &out, config.Log{Level: "warn", Format: "text"})
	log := slog.New(l.handler).With("node", "n1").WithGroup("g")
	log.Info("not said")
	log.Warn("said", "a", 1)
	l.apply(config.Log{Level: "info", Format: "json"})
	log.Info("said too", "a", 1)
	l.apply(config.Log{Level: "error", Format: "text"})
	log.Warn("not said")
	_, text, _ := strings.Cut(out.String(), " ")
	first, second, _ := strings.Cut(text, "\n")
	if first != "level=WARN msg=said node=n1 g.a=1" || !strings.HasSuffix(second, `"level":"INFO","msg":"said too","node":"n1","g":{"a":1}}`+"\n") {
		t.Errorf("got\n%s", out.String())
	}
}

func TestAccessLog_HidesTheParametersThatCarryTokens(t *testing.T) {
	var out bytes.Buffer
	l := newLogs(io.Discard, &out, config.Log{Level: "info"})
	if l.accessLog("n1", config.Log{Access: config.AccessOff}, config.JWT{}) != nil {
		t.Error("there is an access log that nobody wants")
	}
	a := l.accessLog("n1", config.Log{Access: config.AccessAll, Query: true}, config.JWT{Sources: []string{"header", "query:jwt", "cookie:c"}})
	a.Write(&accesslog.Entry{Kind: accesslog.Request, Query: []byte("jwt=x&access_token=y&c=z"), HasQuery: true})
	if !strings.Contains(out.String(), `query="jwt=[redacted]&access_token=[redacted]&c=z"`) {
		t.Errorf("got %s", out.String())
	}
}

func TestLog_HasNoLineBreakInAValue(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log := slog.New(newLogs(&out, &out, config.Log{Level: "info", Format: format}).handler)
		log.Info("of a library\nthat prints lines", "err", errors.Join(errors.New("one"), errors.New("two")), "stack", "main.f()\n\tf.go:1\r\nmain.g()", "n", 1)
		line := strings.TrimSuffix(out.String(), "\n")
		if strings.Contains(line, "\n") || strings.Contains(line, `\n`) || strings.Contains(line, `\r`) {
			t.Errorf("%s: %s", format, line)
		}
		for _, want := range []string{"of a library; that prints lines", "one; two", "main.f() f.go:1; main.g()"} {
			if !strings.Contains(line, want) {
				t.Errorf("%s: %q is missing in %s", format, want, line)
			}
		}
	}
}
