package proxy

import (
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/http1"
)

func TestVia_IsAddedOnlyWhereAskedFor(t *testing.T) {
	f := func(via bool, want string) {
		t.Helper()
		var r http1.Request
		head := []byte("GET / HTTP/1.1\r\nHost: app\r\nVia: 1.0 first\r\n\r\n")
		if err := http1.ParseRequest(head, &r); err != nil {
			t.Fatal(err)
		}
		h := requestHead{req: &r, head: head, via: via, from: clientaddr.Origin{ForwardedFor: "1.1.1.1", Proto: "http"}}
		if got := string(h.append(nil)); !strings.HasSuffix(got, "\r\nX-Forwarded-Proto: http\r\n"+want+"\r\n") {
			t.Errorf("via %v: %q", via, got)
		}
	}
	f(false, "")
	f(true, "Via: 1.1 pushcart\r\n")
}

// Every line was compared with every option of Connection, and the list was gone
// through again for each: a head of 62 KB cost tens of milliseconds.
func TestConnectionOptions_CostNoMoreThanTheHead(t *testing.T) {
	f := func(connection string) {
		t.Helper()
		head := "GET / HTTP/1.1\r\nHost: app\r\nConnection: " + connection + "\r\n"
		lines := 125
		size := (62<<10 - len(head)) / lines
		head += strings.Repeat("aa:"+strings.Repeat("b", max(0, size-5))+"\r\n", lines) + "\r\n"
		var r http1.Request
		parse := func() {
			if err := http1.ParseRequest([]byte(head), &r); err != nil {
				t.Fatal(err)
			}
		}
		parse()
		h := requestHead{req: &r, head: []byte(head)}
		var out []byte
		rewriting := fastest(func() { out = h.append(out[:0]) })
		if parsing := fastest(parse); rewriting > 10*parsing {
			t.Errorf("%.20q: parsing takes %v, writing %v", connection, parsing, rewriting)
		}
	}
	f("close")
	f(strings.Repeat("abc,", 90) + "x")
	f("x," + strings.Repeat(" ", 50<<10) + ",y")
	f(strings.Repeat("x"+strings.Repeat(" ", 500)+",", 90) + "y")
}

// fastest is how long f takes when nothing else is in its way.
func fastest(f func()) time.Duration {
	best := time.Hour
	for range 20 {
		begin := time.Now()
		f()
		best = min(best, time.Since(begin))
	}
	return best
}
