package config

import (
	"net/url"
	"regexp"
	"strings"
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
// to in the same way.
func (r *Redis) checkAddresses(p *Problems) {
	first := -1
	for i, a := range r.Addresses {
		if !isRedisURL(a) {
			checkAddress(p, item("redis.addresses", i), a)
			continue
		}
		if reason := badRedisURL(a); reason != "" {
			p.add(item("redis.addresses", i), "%s", reason)
			continue
		}
		if first < 0 {
			first = i
		} else if what := otherThan(r.Addresses[first], a); what != "" {
			p.add(item("redis.addresses", i), "has another %s than redis.addresses[%d]; all need the same", what, first)
		}
	}
}

func isRedisURL(s string) bool {
	return strings.HasPrefix(s, "redis://") || strings.HasPrefix(s, "rediss://")
}

// otherThan says in what two good URLs differ besides the host.
func otherThan(one, other string) string {
	a, _ := url.Parse(one)
	b, _ := url.Parse(other)
	ours, _ := a.User.Password()
	theirs, _ := b.User.Password()
	switch {
	case a.Scheme != b.Scheme:
		return "scheme"
	case a.User.Username() != b.User.Username():
		return "user"
	case ours != theirs:
		return "password"
	case databaseOf(a) != databaseOf(b):
		return "database"
	}
	return ""
}

func databaseOf(u *url.URL) string {
	number := strings.TrimLeft(strings.TrimPrefix(u.Path, "/"), "0")
	return number
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
	} {
		if set.isIt {
			p.add("redis."+set.key, "is not used with redis.mode %s; it is for sentinel and auto", r.Mode)
		}
	}
}

// badRedisURL says what is wrong with a redis:// URL, without repeating it.
func badRedisURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return "want host:port or a redis:// URL; a /, ? or # in its password is written %2F, %3F, %23"
	case !databasePath.MatchString(u.Path):
		return "want a database number after the host, like redis://host:6379/0"
	case u.RawQuery != "" || u.Fragment != "":
		return "options after ? are not taken; set them as keys of redis"
	}
	return ""
}

var databasePath = regexp.MustCompile(`^(/\d{0,5})?$`)
