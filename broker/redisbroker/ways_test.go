package redisbroker_test

import (
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

// configured is a node with a whole section redis.
type configured struct {
	*redisbroker.Broker
	log testkit.Log
	got atomic.Int64
}

func newConfigured(t testing.TB, node string, cfg config.Redis) *configured {
	t.Helper()
	c := &configured{}
	cfg.Prefix = "pc"
	b, err := redisbroker.New(cfg, node, metrics.New("test", ""), slog.New(slog.NewTextHandler(&c.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	c.Broker = b
	if err := b.Start(func(m broker.Message) {
		if m.Kind == broker.Published {
			c.got.Add(1)
		}
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return c
}

// complains waits for an ERROR line that names a key, one for each server, and for a detail
// of readiness, which both say why.
func (c *configured) complains(t testing.TB, key, why string) {
	t.Helper()
	lines := func() (found []string) {
		for _, l := range strings.Split(c.log.String(), "\n") {
			if strings.Contains(l, "level=ERROR") && strings.Contains(l, "key="+key+" ") && strings.Contains(l, why) {
				found = append(found, l)
			}
		}
		return found
	}
	if !testkit.Until(func() bool { return len(lines()) > 0 && strings.Contains(fmt.Sprint(c.Health()), why) }) || c.Up() {
		t.Errorf("want %q with %s, readiness has %v, up %v, the log\n%s", why, key, c.Health(), c.Up(), c.log.String())
	}
	said := map[string]bool{}
	for _, l := range lines() {
		_, server, _ := strings.Cut(l, " server=")
		server, _, _ = strings.Cut(server, " ")
		if said[server] {
			t.Errorf("said twice: %s", l)
		}
		said[server] = true
	}
}

// exchange wants pushes of one node to reach the other, in every partition.
func exchange(t testing.TB, a, b *configured) {
	t.Helper()
	testkit.Eventually(t, "both nodes are up", func() bool { return a.Up() && b.Up() })
	for _, topic := range []string{"user:a", "user:b", "user:c", "user:d", "user:e", "user:f", "user:g", "user:h"} {
		if err := b.Subscribe(t.Context(), broker.Topics(topic)...); err != nil {
			t.Fatal(err)
		}
		before := b.got.Load()
		testkit.Eventually(t, "a push arrives", func() bool {
			a.Publish(t.Context(), []broker.Publication{{Topic: topic, Payload: []byte("m")}})
			return b.got.Load() > before
		})
	}
}

// The servers of a Cluster have certificates for themselves: each is verified under the
// name by which the Cluster announces it.
func TestRedis_VerifiesEachServerOfAClusterUnderItsOwnName(t *testing.T) {
	ca := testkit.NewAuthority(t)
	c := redistest.NewTLSCluster(t, ca, []string{"127.0.0.11", "127.0.0.12", "127.0.0.13"}, func(host string) string { return host })
	cfg := config.Redis{Addresses: []string{c.Primaries[0].TLSAddr}, TLS: config.RedisTLS{Enabled: true, CAFile: ca.CertFile}}
	exchange(t, newConfigured(t, "a", cfg), newConfigured(t, "b", cfg))
	cfg.TLS.ServerName = "127.0.0.11" // that of one is not that of all
	newConfigured(t, "c", cfg).complains(t, "redis.tls.server_name", "is for another name: certificate is valid for 127.0.0.1")
}

// Certificates for names want a Cluster that announces names, or one name for all.
func TestRedis_VerifiesNamesThatAClusterAnnounces(t *testing.T) {
	ca := testkit.NewAuthority(t)
	c := redistest.NewTLSCluster(t, ca, []string{"127.0.0.1", "127.0.0.1", "127.0.0.1"}, func(string) string { return "localhost" })
	cfg := config.Redis{TLS: config.RedisTLS{Enabled: true, CAFile: ca.CertFile}}
	for _, s := range c.Primaries[:1] {
		_, port, _ := net.SplitHostPort(s.TLSAddr)
		cfg.Addresses = []string{net.JoinHostPort("localhost", port)}
	}
	a, b := newConfigured(t, "a", cfg), newConfigured(t, "b", cfg)
	a.complains(t, "redis.tls.server_name", "cannot validate certificate for 127.0.0.1 ")
	cfg.TLS.ServerName = "localhost"
	exchange(t, newConfigured(t, "c", cfg), newConfigured(t, "d", cfg))
	for _, s := range c.Primaries {
		s.Do(t, "CONFIG", "SET", "cluster-announce-hostname", "localhost")
		s.Do(t, "CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname")
	}
	exchange(t, a, b)
}

// What is configured wrongly is one line that names the key, and no half-life.
func TestRedis_SaysWhatIsConfiguredWrongly(t *testing.T) {
	ca, other := testkit.NewAuthority(t), testkit.NewAuthority(t)
	s := redistest.StartTLS(t, ca, ca.Issue(t, t.TempDir(), false, "127.0.0.1"), "--tls-auth-clients", "no")
	newConfigured(t, "a", config.Redis{Addresses: []string{s.TLSAddr}, TLS: config.RedisTLS{Enabled: true, CAFile: other.CertFile}}).
		complains(t, "redis.tls.ca_file", "is not trusted: certificate signed by unknown authority")
	newConfigured(t, "b", config.Redis{Addresses: []string{s.Addr}, TLS: config.RedisTLS{Enabled: true, CAFile: ca.CertFile}}).
		complains(t, "redis.tls.enabled", "redis at "+s.Addr+" does not speak TLS: see redis.tls.enabled")
	newConfigured(t, "c", config.Redis{Addresses: []string{s.TLSAddr}}).
		complains(t, "redis.tls.enabled", "redis at "+s.TLSAddr+" speaks TLS only: see redis.tls.enabled")
	good := config.Redis{Addresses: []string{"rediss://" + s.TLSAddr}, TLS: config.RedisTLS{CAFile: ca.CertFile}}
	exchange(t, newConfigured(t, "d", good), newConfigured(t, "e", good))
}

// A node that only has a socket to Redis is a node like others.
func TestRedis_OverAUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "redis.sock")
	s := redistest.StartWith(t, "--unixsocket", socket)
	exchange(t, newConfigured(t, "a", config.Redis{Addresses: []string{"unix:" + socket}}), newConfigured(t, "b", config.Redis{Addresses: []string{s.Addr}}))
	one := filepath.Join(t.TempDir(), "one.sock")
	cluster := redistest.StartClusterWith(t, "--unixsocket", one)
	exchange(t, newConfigured(t, "c", config.Redis{Addresses: []string{"unix:" + one}}), newConfigured(t, "d", config.Redis{Addresses: []string{cluster.Addr}}))
}
