package config

import (
	"crypto/sha256"
	"maps"
	"slices"

	"github.com/pushcart/pushcart/internal/files"
)

// Named identifies the contents of the files that a configuration names: renewing a
// certificate does not change its path.
type Named map[string][sha256.Size]byte

// readAgain are the files that every new connection to Redis reads, though another path
// needs a restart.
var readAgain = map[string]bool{
	"redis.password_file": true, "redis.sentinel_password_file": true,
	"redis.tls.ca_file": true, "redis.tls.cert_file": true, "redis.tls.key_file": true,
}

// ReadNamed reads them; one that cannot be read is left out.
func (c *Config) ReadNamed() Named {
	n := Named{}
	for key, file := range map[string]string{
		"tls.cert_file": c.TLS.CertFile, "tls.key_file": c.TLS.KeyFile,
		"auth.jwt.public_key_file": c.Auth.JWT.PublicKeyFile, "backend.tls.ca_file": c.Backend.TLS.CAFile,
		"redis.password_file": c.Redis.PasswordFile, "redis.sentinel_password_file": c.Redis.SentinelPasswordFile,
		"redis.tls.ca_file": c.Redis.TLS.CAFile, "redis.tls.cert_file": c.Redis.TLS.CertFile, "redis.tls.key_file": c.Redis.TLS.KeyFile,
	} {
		if file == "" {
			continue
		}
		if b, err := files.Read(file); err == nil {
			n[key] = sha256.Sum256(b)
		}
	}
	return n
}

// Compare adds to r the keys whose paths stayed and whose files did not.
func (n Named) Compare(next Named, r *Reload) {
	for _, key := range slices.Sorted(maps.Keys(n)) {
		now, there := next[key]
		moved := slices.ContainsFunc(slices.Concat(r.Changed, r.Restart), func(c Change) bool { return c.Key == key })
		switch {
		case !there || moved || now == n[key]:
		case isLive(key), readAgain[key]:
			r.Changed = append(r.Changed, Change{Key: key})
		default:
			r.Restart = append(r.Restart, Change{Key: key})
		}
	}
}
