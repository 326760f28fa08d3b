package proxy_test

import (
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
)

const (
	logIn      = "GET /in HTTP/1.1\r\nHost: app\r\nAuthorization: Negotiate YII\r\n\r\n"
	challenged = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a\"\r\nwww-authenticate: Digest realm=\"b\", ntlm\r\nContent-Length: 2\r\n\r\nno"
)

// exchanged sends request from c, answers it at b and wants the answer at c.
func exchanged(c, b *peer, request, answer string) {
	c.t.Helper()
	c.send(request)
	b.head()
	b.send(answer)
	c.wants(answer)
}

// NTLM and Negotiate authenticate a connection: from the pool, the next client would
// be the one before to the backend.
func TestAuthenticatedConnection_ServesItsClientOnly(t *testing.T) {
	f := func(request, answer string) {
		t.Helper()
		r := newRig(t)
		one := r.dial()
		one.send(request)
		mine := r.asked()
		mine.head()
		mine.send(answer)
		one.wants(answer)
		for range 2 {
			two := r.sends(get)
			b := r.asked() // another connection
			b.head()
			b.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
			two.wants(ok)
			exchanged(one, mine, get, ok) // which stays its client's
		}
		_ = one.conn.Close()
		mine.ends()
	}
	f(logIn, ok)
	f("GET / HTTP/1.1\r\nHost: app\r\nauthorization:ntlm TlRMTVNTUAAB\r\n\r\n", ok)
	f(get, challenged)
	f("GET / HTTP/1.1\r\nHost: app\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nWWW-Authenticate: Negotiate\r\n\r\n"+ok)
}

func TestAuthenticatedConnection_OfThePoolLeavesIt(t *testing.T) {
	r := newRig(t)
	first, b := r.kept()
	first.stays()
	one := r.dial()
	exchanged(one, b, logIn, ok)
	two := r.sends(get)
	other := r.asked()
	other.head()
	other.send(ok)
	two.wants(ok)
	exchanged(one, b, get, ok)
}

func TestAuthenticatedConnection_EndsWithItsClient(t *testing.T) {
	f := func(what string, end func(r *rig, c *peer)) {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, func(c *config.Config) { c.Client.IdleTimeout = 3 * time.Second })
			c := r.dial()
			c.send(logIn)
			b := r.asked()
			b.head()
			b.send(ok)
			c.wants(ok)
			end(r, c)
			b.ends()
		})
	}
	f("closed", func(_ *rig, c *peer) { _ = c.conn.Close() })
	f("idle", func(_ *rig, c *peer) { c.ends() }) // longer than until it would be parked
	f("upgraded", func(r *rig, c *peer) {
		c.send("GET /_push" + handshake)
		<-r.taken
	})
	f("last request", func(r *rig, c *peer) { c.send("GARBAGE\r\n\r\n") })
}

func TestAuthenticatedConnection_ThatTheBackendClosedIsReplaced(t *testing.T) {
	r := newRig(t)
	c := r.dial()
	c.send(logIn)
	b := r.asked()
	b.head()
	b.send(ok)
	c.wants(ok)
	_ = b.conn.Close()
	<-time.After(quiet / 3)
	c.send(get)
	b = r.asked()
	b.head()
	b.send(ok)
	c.wants(ok)
}

// Those for this hop are not the backend's.
func TestProxyAuthorization_LeavesTheConnectionInThePool(t *testing.T) {
	r := newRig(t)
	one := r.sends("GET / HTTP/1.1\r\nHost: app\r\nProxy-Authorization: NTLM x\r\nAuthorization: Bearer NTLM\r\n\r\n")
	b := r.asked()
	b.head()
	b.send(ok)
	one.wants(ok)
	one.stays()
	two := r.dial()
	exchanged(two, b, get, ok)
}
