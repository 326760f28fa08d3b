package push

import (
	"strconv"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub/hubtest"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/internal/testkit"
)

// An app that does not look at the answer of its pushes had nothing to go by.
func TestAPI_LogsWhatItsCallerHasToMend(t *testing.T) {
	f := func(path, body, header string, want ...string) {
		t.Helper()
		var log testkit.Log
		a := newAPI(t, hubtest.Alone(t), func(c *config.Push) { c.MaxBody = 1000 })
		a.quiet = ratelog.New(testkit.Logger(&log))
		ln := testkit.Listen(t)
		s := serveOn(t, a, ln)
		for range 3 {
			s.raw("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n" + header + "\r\n" + body)
		}
		got := log.String()
		if n := log.Lines(); len(want) > 0 && n != 1 || len(want) == 0 && n != 0 {
			t.Errorf("%s %s: got %d lines:\n%s", path, body, n, got)
		}
		for _, w := range append(want, "") {
			if !strings.Contains(got, w) || strings.Contains(got, "SECRET") {
				t.Errorf("%s %s: no %q, or a payload, in\n%s", path, body, w, got)
			}
		}
	}
	f("/v1/push", `{"to":{"user":["42"]},"text":"SECRET"}`, "", "WARN", "path=/v1/push", "status=400", "to.user: unknown field")
	f("/v1/push", `{"`+strings.Repeat("x", 300)+`":1}`, "", "reason="+strings.Repeat("x", 200)+"\n")
	f("/v1/push", "<SECRET/>", "Content-Type: text/xml\r\n", "status=415")
	f("/push", "hi", "", "path=/push", "status=404")
	f("/v1/users/42", "hi", "", "status=405")
	f("/v1/users/42/push", "hi", "Origin: http://localhost:3000\r\n", "status=403", "setting=push.hosts")
	f("/v1/connections/nobody/disconnect", "", "")
	f("/v1/users/42/push", "hi", "")
}
