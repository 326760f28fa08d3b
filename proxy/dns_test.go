package proxy_test

import (
	"context"
	"encoding/binary"
	"net"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

// resolves makes every name stand for addresses while the test runs.
func resolves(t *testing.T, addresses ...string) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		q := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(q)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(dnsAnswer(q[:n], addresses), from)
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		_ = server.Close()
	})
}

// dnsAnswer answers a question for A with addresses, any other with nothing.
func dnsAnswer(query []byte, addresses []string) []byte {
	end := 12
	for query[end] != 0 {
		end += 1 + int(query[end])
	}
	end += 5
	b := append([]byte(nil), query[:end]...)
	b[2], b[3] = 0x84, 0 // an authoritative answer, no error
	binary.BigEndian.PutUint16(b[8:], 0)
	binary.BigEndian.PutUint16(b[10:], 0)
	if binary.BigEndian.Uint16(query[end-4:]) != 1 {
		return b
	}
	binary.BigEndian.PutUint16(b[6:], uint16(len(addresses)))
	for _, a := range addresses {
		b = append(b, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4) // the name, A, IN, no TTL
		b = append(b, net.ParseIP(a).To4()...)
	}
	return b
}

// deaf listens on an address of which no connection is ever made or refused.
func deaf(t *testing.T, ip string, port int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	at := &unix.SockaddrInet4{Port: port, Addr: [4]byte(net.ParseIP(ip).To4())}
	if err := unix.Bind(fd, at); err != nil {
		testkit.Missing(t, "a second address on loopback")
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort(ip, strconv.Itoa(port))
	for range 10 { // until its queue is full
		conn, err := net.DialTimeout("tcp", address, quiet)
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	testkit.Missing(t, "a queue of a listener that gets full")
}

// net.Dialer spends all of a connect_timeout of 2 s on the first address.
func TestBackend_WithSeveralAddressesOfWhichOneIsDead(t *testing.T) {
	f := func(prepare func(port int), addresses ...string) {
		t.Helper()
		ln := testkit.Listen(t)
		port := ln.Addr().(*net.TCPAddr).Port
		prepare(port)
		resolves(t, addresses...)
		r := newRigAt(t, ln, "http://app.test:"+strconv.Itoa(port), func(c *config.Config) { c.Backend.ConnectTimeout = 2 * time.Second })
		r.next()
		began := time.Now()
		r.next() // on a new connection, where the dead one costs no time any more
		if took := time.Since(began); took > time.Second {
			t.Errorf("%q: the next connection took %v", addresses, took)
		}
	}
	refuses := func(int) {}
	f(refuses, "127.0.0.1", "127.0.0.2")
	f(refuses, "127.0.0.2", "127.0.0.1")
	silent := func(port int) { deaf(t, "127.0.0.2", port) }
	f(silent, "127.0.0.1", "127.0.0.2")
	f(silent, "127.0.0.2", "127.0.0.1")
}
