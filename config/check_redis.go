package config

import (
	"strings"

	"github.com/pushcart/pushcart/internal/redisurl"
)

func (c *Config) checkRedis(p *Problems) {
	r := c.Redis
	r.checkAddresses(p)
	oneOf(p, "redis.mode", r.Mode, RedisAuto, RedisStandalone, RedisSentinel, RedisCluster)
	if r.Mode == RedisSentinel && len(r.Addresses) == 0 && !p.unread("redis.addresses") {
		p.add("redis.addresses", "mode sentinel needs the addresses of sentinels, like [sentinel-1:26379, sentinel-2:26379]")
	}
	if r.Mode == RedisStandalone || r.Mode == RedisCluster {
		r.checkUnused(p)
	}
	if r.Mode == RedisCluster && r.Database != 0 {
		p.add("redis.database", "must be 0: a Cluster has no others")
	}
	notNegative(p, "redis.database", float64(r.Database))
	if (r.TLS.CertFile == "") != (r.TLS.KeyFile == "") {
		p.add("redis.tls", "cert_file and key_file go together")
	}
	if r.Prefix == "" || strings.ContainsAny(r.Prefix, "{} \t\r\n*") {
		p.add("redis.prefix", "must not be empty or contain braces, stars or white space, got %q", r.Prefix)
	}
}

// checkAddresses looks at each by itself, and at URLs together: all addresses are connected
// to in the same way. What is wrong with a URL is said without repeating it.
func (r *Redis) checkAddresses(p *Problems) {
	first, firstAt := redisurl.Address{}, -1
	for i, text := range r.Addresses {
		path := item("redis.addresses", i)
		if !redisurl.IsURL(text) {
			checkAddress(p, path, text)
			continue
		}
		a, err := redisurl.Parse(text)
		switch what := otherThan(first, a); {
		case err != nil:
			p.add(path, "%v", err)
		case redisurl.IsSocket(a.Addr) && r.TLS.Enabled:
			p.add(path, "a unix socket has no TLS: leave out redis.tls.enabled")
		case r.Mode == RedisCluster && a.Database != 0:
			p.add(path, "the database must be 0: a Cluster has no others")
		case firstAt < 0:
			first, firstAt = a, i
		case what != "":
			p.add(path, "has another %s than redis.addresses[%d]; all need the same", what, firstAt)
		}
	}
}

// otherThan says in what two addresses differ besides the host.
func otherThan(a, b redisurl.Address) string {
	switch {
	case a.TLS != b.TLS:
		return "scheme"
	case a.Username != b.Username:
		return "user"
	case a.Password != b.Password:
		return "password"
	case a.Database != b.Database:
		return "database"
	}
	return ""
}

// checkUnused finds what is for sentinels.
func (r *Redis) checkUnused(p *Problems) {
	for _, set := range []struct {
		key  string
		isIt bool
	}{
		{"master_name", r.MasterName != ""},
		{"sentinel_username", r.SentinelUsername != ""},
		{"sentinel_password", r.SentinelPassword != ""},
		{"sentinel_password_file", r.SentinelPasswordFile != ""},
	} {
		if set.isIt {
			p.add("redis."+set.key, "is not used with redis.mode %s; it is for sentinel and auto", r.Mode)
		}
	}
}
