package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
)

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
