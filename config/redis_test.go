package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse_WaysToRedisThatDoNotFitTogether(t *testing.T) {
	f := func(redis string, want ...string) {
		t.Helper()
		_, err := Parse([]byte(minimal+"redis: "+redis), noEnv)
		if len(want) == 0 {
			if err != nil {
				t.Errorf("%s: %v", redis, err)
			}
			return
		}
		if err == nil {
			t.Errorf("%s: no error, want %q", redis, want)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q", redis, err, w)
			}
		}
		if strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: the error has a password: %v", redis, err)
		}
	}
	f("{addresses: ['a:1', 'b:2', 'c:3']}")
	f("{addresses: ['redis://u:p@a:1/3', 'redis://u:p@b:1/3', 'c:3']}")
	f("{addresses: ['redis://a', 'redis://b/0', 'redis://c/']}")
	f("{mode: sentinel, addresses: ['a:1'], master_name: x, sentinel_username: u, sentinel_password: p, database: 3}")
	f("{addresses: ['a:1'], master_name: x}")

	const other = "redis.addresses[1]: has another "
	f("{addresses: ['redis://a', 'rediss://b']}", other+"scheme than redis.addresses[0]; all need the same")
	f("{addresses: ['redis://u:geheim@a', 'redis://v:geheim@b']}", other+"user")
	f("{addresses: ['redis://u:geheim@a', 'redis://u:geheim2@b', 'redis://u@c']}", other+"password", "redis.addresses[2]: has another password")
	f("{addresses: ['redis://a/1', 'redis://b']}", other+"database")
	f("{addresses: ['a:1', 'redis://a', 'redis://b/2']}", "redis.addresses[2]: has another database than redis.addresses[1]")

	f("{mode: standalone, addresses: ['a:1'], master_name: x}", "redis.master_name: is not used with redis.mode standalone; it is for sentinel and auto")
	f("{mode: cluster, addresses: ['a:1'], sentinel_username: x, sentinel_password: geheim}",
		"redis.sentinel_username: is not used with redis.mode cluster", "redis.sentinel_password: is not used")
}

func TestParse_TheSentinelsPasswordStaysInItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(file, []byte("geheim\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Parse([]byte(minimal+"redis: {sentinel_password_file: '"+file+"'}"), noEnv)
	if err != nil || c.Redis.SentinelPassword != "" || c.Redis.SentinelPasswordFile != file { // each connection reads it
		t.Errorf("got %q, %v", string(c.Redis.SentinelPassword), err)
	}
	_, err = Parse([]byte(minimal+"redis: {sentinel_password: x, sentinel_password_file: '"+file+"'}"), noEnv)
	if err == nil || !strings.Contains(err.Error(), "redis.sentinel_password_file: set together with redis.sentinel_password") {
		t.Errorf("got %v", err)
	}
}
