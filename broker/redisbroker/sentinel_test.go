package redisbroker_test

import (
	"net"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

func TestRedis_WithSentinel(t *testing.T) { suite(t, redistest.NewPatientSentinels(t, 1).Sentinel(1)) }

func TestRedisSeats_WithSentinel(t *testing.T) {
	s := redistest.NewPatientSentinels(t, 1)
	seatsSuiteAt(t, s.Addrs[2], s.Master(t))
}

// Sentinels and the master speak TLS, and are verified under the names of their addresses,
// which is that of the certificate; or all under one name.
func TestRedisSentinel_OverTLS(t *testing.T) {
	cert := testkit.NewCertificate(t, t.TempDir(), "localhost")
	addr := testkit.FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	redistest.StartAt(t, addr, "--port", "0", "--tls-port", port, "--tls-cert-file", cert.CertFile, "--tls-key-file", cert.KeyFile,
		"--tls-ca-cert-file", cert.CertFile, "--tls-auth-clients", "no")
	lines := func(more ...string) []string {
		return append([]string{"port 0", "tls-port PORT", "tls-cert-file " + cert.CertFile, "tls-key-file " + cert.KeyFile,
			"tls-ca-cert-file " + cert.CertFile, "tls-auth-clients no", "tls-replication yes"}, more...)
	}
	named := redistest.StartAlone(t, lines("sentinel resolve-hostnames yes", "sentinel announce-hostnames yes", "sentinel monitor main localhost "+port+" 1")...)
	numbered := redistest.StartAlone(t, lines("sentinel monitor main 127.0.0.1 "+port+" 1")...)
	for i, cfg := range []config.Redis{
		{Addresses: []string{"localhost:" + named}, TLS: config.RedisTLS{Enabled: true, CAFile: cert.CertFile}},
		{Addresses: []string{"rediss://localhost:" + named}, TLS: config.RedisTLS{CAFile: cert.CertFile}},
		{Addresses: []string{"127.0.0.1:" + numbered}, TLS: config.RedisTLS{Enabled: true, CAFile: cert.CertFile, ServerName: "localhost"}},
	} {
		n := newWitnessAt(t, cfg, i)
		testkit.Eventually(t, "it is up", n.Up)
	}
	n := newWitnessAt(t, config.Redis{Addresses: []string{"localhost:" + numbered}, TLS: config.RedisTLS{Enabled: true, CAFile: cert.CertFile}}, 3)
	n.log.Await(t, "certificate")
}
