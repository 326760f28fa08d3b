package proxy_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A backend that answers without reading and closes, while the last piece of the
// body is being written: the piece used to count as sent, and what the client had
// sent of it was then read as the next request.
func TestUploadThatCouldNotBeSent_IsNoNextRequest(t *testing.T) {
	f := func(name, answer string) {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "app.sock"))
			if err != nil {
				t.Fatal(err)
			}
			r := newRigAt(t, ln, "unix:"+ln.Addr().String())
			smuggled := "GET /smuggled HTTP/1.1\r\nHost: app\r\n\r\n"
			// Somewhere among these sizes the last piece is the one that the kernel has no
			// more room for.
			for size := 160 << 10; size <= 288<<10; size += 8 << 10 {
				body := strings.Repeat(smuggled, size/len(smuggled)+1)[:size]
				c := r.sends(fmt.Sprintf("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: %d\r\n\r\n", size))
				b := r.asked()
				if head := b.head(); !strings.HasPrefix(head, "POST / ") {
					t.Fatalf("after %d bytes the backend got %q", size-8<<10, head)
				}
				c.send(body)
				<-time.After(quiet / 5) // until it is stuck, where it gets stuck
				b.send(answer)
				_ = b.conn.Close()
				got := c.head()
				if strings.Contains(got, "Connection: close\r\n") {
					c.wants(map[bool]string{true: "ok", false: ""}[answer != ""])
					continue
				}
				if answer != "" {
					c.wants("ok")
				} else {
					c.wants(`{"error":{"code":"backend_error","message":"the backend cannot be reached"}}`)
				}
				c.stays()
			}
			r.untouched()
		})
	}
	f("answered early", ok)
	f("not answered", "")
}
