package redisfailures

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// resolver is a name server that has one address for every name.
type resolver struct {
	address atomic.Pointer[netip.Addr]
	conn    net.PacketConn
}

// newResolver starts one on port 53 of a loopback address, where resolv.conf finds it.
func newResolver(t *testing.T) (r *resolver, at string) {
	t.Helper()
	at = "127.53.0.1"
	conn, err := net.ListenPacket("udp", at+":53")
	if err != nil {
		testkit.Missing(t, fmt.Sprintf("port 53, for a name server: %v", err))
	}
	r = &resolver{conn: conn}
	done := make(chan struct{})
	go func() { defer close(done); r.serve() }()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return r, at
}

func (r *resolver) point(addr string) {
	a := netip.MustParseAddr(addr)
	r.address.Store(&a)
}

func (r *resolver) serve() {
	buf := make([]byte, 512)
	for {
		n, from, err := r.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer := r.answer(buf[:n]); answer != nil {
			_, _ = r.conn.WriteTo(answer, from)
		}
	}
}

// answer repeats the question, and has an address if an IPv4 address was asked for
// (RFC 1035 §4.1). It may be cached for no time.
func (r *resolver) answer(query []byte) []byte {
	const headLen, typeA = 12, 1
	end := headLen
	for end < len(query) && query[end] != 0 { // labels
		end += 1 + int(query[end])
	}
	end += 5 // the last label, type and class
	if end > len(query) {
		return nil
	}
	out := append([]byte(nil), query[:end]...)
	binary.BigEndian.PutUint16(out[2:], 0x8580) // a response, authoritative, recursion is there
	clear(out[6:headLen])                       // no answer yet, and nothing more
	if binary.BigEndian.Uint16(out[end-4:]) != typeA {
		return out
	}
	binary.BigEndian.PutUint16(out[6:], 1)
	out = append(out, 0xc0, headLen, 0, typeA, 0, 1, 0, 0, 0, 0, 0, 4) // the name of the question, TTL 0
	address := r.address.Load().As4()
	return append(out, address[:]...)
}

// renamed is a name that points to another server after its master handed over and died.
func renamed(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	names, at := newResolver(t)
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver "+at+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t)
	host, port, _ := net.SplitHostPort(server.Addr)
	next := replicaOf(t, server, net.JoinHostPort("127.0.0.2", port))
	names.point(host)
	d := &deployment{
		yaml:    "addresses: ['redis.test:" + port + "']",
		serving: func() []*redistest.Server { return []*redistest.Server{server} },
		wrap:    []string{"unshare", "--mount", "sh", "-c", fmt.Sprintf(`mount --bind %q /etc/resolv.conf && exec "$@"`, resolv), "sh"},
	}
	return d, func(r *rig, lasts time.Duration) {
		r.broke()
		handOver(t, server, next)
		server.Kill()
		<-time.After(lasts)
		server = next
		r.back(func() { names.point("127.0.0.2") })
	}
}
