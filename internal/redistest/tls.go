package redistest

import (
	"net"
	"testing"

	"github.com/pushcart/pushcart/internal/testkit"
)

// StartTLS starts a server that speaks TLS besides, at TLSAddr, and shows a certificate.
// Clients need one of the authority too if args do not say otherwise.
func StartTLS(t testing.TB, a *testkit.Authority, shown *testkit.Certificate, args ...string) *Server {
	t.Helper()
	return start(t, withTLS(t, &Server{Addr: testkit.FreeAddr(t)}, a, shown, args...))
}

func withTLS(t testing.TB, s *Server, a *testkit.Authority, shown *testkit.Certificate, args ...string) *Server {
	t.Helper()
	host, _, _ := net.SplitHostPort(s.Addr)
	port := freePort(t)
	s.TLSAddr = net.JoinHostPort(host, port)
	s.args = append([]string{"--tls-port", port, "--tls-ca-cert-file", a.CertFile, "--tls-cert-file", shown.CertFile, "--tls-key-file", shown.KeyFile}, args...)
	return s
}

// NewTLSCluster is NewCluster of a primary at each of these loopback addresses, that speak
// TLS among them and to clients. name says whom the certificate of the one at host names.
func NewTLSCluster(t testing.TB, a *testkit.Authority, hosts []string, name func(host string) string) *Cluster {
	t.Helper()
	c := &Cluster{Replicas: make([][]*Server, len(hosts))}
	for _, host := range hosts {
		s := &Server{Addr: net.JoinHostPort(host, freePort(t)), bus: freePort(t)}
		shown := a.Issue(t, t.TempDir(), false, name(host))
		c.Primaries = append(c.Primaries, withTLS(t, s, a, shown, "--tls-cluster", "yes", "--tls-auth-clients", "no", "--cluster-announce-ip", host))
	}
	c.join(t)
	return c
}
