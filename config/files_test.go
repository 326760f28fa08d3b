package config

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/testkit"
)

// pemFiles are a certificate, its key, its public key and another key.
func pemFiles(t *testing.T) (cert, key, public, other string) {
	t.Helper()
	dir := t.TempDir()
	pair, second := testkit.NewCertificate(t, dir, "a.example"), testkit.NewCertificate(t, t.TempDir(), "b.example")
	der, err := x509.MarshalPKIXPublicKey(&pair.Pair.PrivateKey.(*ecdsa.PrivateKey).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public = filepath.Join(dir, "public.pem")
	if err := os.WriteFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return pair.CertFile, pair.KeyFile, public, second.KeyFile
}

func TestParse_ReadsWhatTheConfigurationNames(t *testing.T) {
	cert, key, public, other := pemFiles(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(yaml string, want ...string) {
		t.Helper()
		yaml = strings.NewReplacer("CERT", cert, "KEY", key, "PUBLIC", public, "OTHER", other, "EMPTY", empty, "NONE", "/does/not/exist").Replace(yaml)
		_, err := Parse([]byte(minimal+yaml), noEnv)
		var got []string
		if err != nil {
			got = strings.Split(err.Error(), "\n")
		}
		if len(got) != len(want) {
			t.Errorf("%s\ngot\n%v\nwant %q", yaml, err, want)
			return
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%s\ngot\n%s\nwant\n%s", yaml, got[i], want[i])
			}
		}
	}
	f(
		"tls: {cert_file: CERT, key_file: KEY}\nredis: {tls: {cert_file: CERT, key_file: KEY, ca_file: CERT}}")
	f("tls: {cert_file: NONE, key_file: NONE}", "tls.cert_file: /does/not/exist: no such file", "tls.key_file: /does/not/exist: no such file")
	f("tls: {cert_file: CERT, key_file: OTHER}", "tls.key_file: "+other+": private key does not match")
	f("tls: {cert_file: KEY, key_file: KEY}", "tls.cert_file: "+key+": no PEM certificate in it")
	f("tls: {cert_file: CERT, key_file: CERT}", "tls.key_file: "+cert+": ")
	f("redis: {tls: {cert_file: CERT, key_file: NONE, ca_file: KEY}}",
		"redis.tls.key_file: /does/not/exist: no such file", "redis.tls.ca_file: "+key+": no PEM certificate in it")
	f("auth: {jwt: {public_key_file: PUBLIC, algorithms: [ES256]}}")
	f("auth: {jwt: {public_key_file: CERT, algorithms: [ES256]}}")
	f("auth: {jwt: {public_key_file: PUBLIC, algorithms: [RS256, ES384]}}",
		"auth.jwt.algorithms[0]: RS256 does not fit the key in "+public+", which is for ES256", "auth.jwt.algorithms[1]: ES384 does not fit")
	f("auth: {jwt: {public_key_file: PUBLIC, jwks_url: 'http://h/k', algorithms: [RS256]}}")
	f("auth: {jwt: {public_key_file: NONE, algorithms: [ES256]}}", "auth.jwt.public_key_file: /does/not/exist: no such file")
	f("auth: {jwt: {public_key_file: EMPTY, algorithms: [ES256]}}", "auth.jwt.public_key_file: "+empty+": no PEM key in it")
	f("push: {tokens_file: EMPTY}", "push.tokens_file: "+empty+" is empty")
	f("auth: {jwt: {secret_file: EMPTY}}", "auth.jwt.secret_file: "+empty+" is empty")
	f("admin: {tokens_file: /dev/zero}", "admin.tokens_file: /dev/zero: is larger than 1MiB")
	f("admin: {tokens_file: "+filepath.Dir(empty)+"}", "admin.tokens_file: "+filepath.Dir(empty)+": is a directory")
}

func TestParse_BackendCAIsRead(t *testing.T) {
	_, err := Parse([]byte("backend: {url: 'https://h', tls: {ca_file: /does/not/exist}}"), noEnv)
	if err == nil || err.Error() != "backend.tls.ca_file: /does/not/exist: no such file or directory" {
		t.Errorf("got %v", err)
	}
}

func TestWebhookWall_ThatResolvesToTheRootIsAProblem(t *testing.T) {
	for _, url := range []string{
		"http://h", "http://h/", "http://h//", "http://h/a/..", "http://h/a/../", "http://h/a/%2e%2e/", "http://h/a/.%2E", "http://h/./", "http://h/a//../",
		"http://h/a/..;x/", "http://h/%2e", "http://h/a/%252e%252e", "http://h/a%2f..", "http://h/a/%5c../..", "http://h/../..", "http://h/a/../{event}", "http://h/{event}/x",
	} {
		_, err := Parse([]byte(minimal+"webhook: {url: '"+url+"', unsigned: true, events: [message]}"), noEnv)
		if err == nil || !strings.HasPrefix(err.Error(), "webhook.url: would close the whole public listener") {
			t.Errorf("%s: got %v", url, err)
		}
	}
	for _, url := range []string{"http://h/a", "http://h/a/../b", "http://h//a", "http://h/..a", "http://h/a/{event}/..", "http://h/%2ea"} {
		if _, err := Parse([]byte(minimal+"webhook: {url: '"+url+"', unsigned: true, events: [message]}"), noEnv); err != nil {
			t.Errorf("%s: got %v", url, err)
		}
	}
}

func TestParse_TrustedProxiesMayBeSingleAddresses(t *testing.T) {
	c, err := Parse([]byte(minimal+"trusted_proxies: [10.0.0.1, '2001:db8::1', '::1', 10.1.0.0/16, '2001:db8::/32', '::ffff:10.0.0.2', '::ffff:10.2.0.0/112']"), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"10.0.0.1/32", "2001:db8::1/128", "::1/128", "10.1.0.0/16", "2001:db8::/32", "10.0.0.2/32", "10.2.0.0/16"}
	for i, p := range c.TrustedProxies {
		if p.String() != want[i] {
			t.Errorf("got %v, want %s", p, want[i])
		}
	}
}

// A password in a URL may hold every character, also those that make it a bad URL.
func TestProblems_NeverShowPasswords(t *testing.T) {
	for _, url := range []string{
		"redis://u:geheim@h:x", "redis://u:ge/heim@h:1/%zz", "redis://:geheim@", "redis://u:geheim@:p@h", "u:geheim@h", "rediss:u:geheim@h:1", "ht!tp://geheim@h",
		"http://u:geheim@", "http://u:geh%zzeim@h/", "ftp://u:geheim@h/" + strings.Repeat("x", 300), "http://u:geheim@h/a?x=1", "redis://u:" + strings.Repeat("geheim", 100) + "@h:x",
	} {
		yaml := "backend: {url: URL}\nlisten: URL\nwebsocket: {paths: URL, ping_interval: URL}\nauth: {jwt: {jwks_url: URL}, forward: {url: URL, user: /id}}\n" +
			"webhook: {url: URL}\nredis: {addresses: [URL], password: [geheim]}\npush: {tokens: geheim, listen: URL}\nlog: {level: URL}\ntrusted_proxies: [URL]\n"
		_, err := Parse([]byte(strings.ReplaceAll(yaml, "URL", "'"+url+"'")), noEnv)
		if err == nil || strings.Contains(err.Error(), "geh") {
			t.Errorf("%s: got\n%v", url, err)
		}
	}
}

func TestPush_SocketModeAndGroup(t *testing.T) {
	for text, want := range map[string]os.FileMode{"0660": 0o660, "600": 0o600, "0777": 0o777} {
		if got, err := (Push{SocketMode: text}).Mode(); err != nil || got != want {
			t.Errorf("%s: got %o, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "rw", "0999", "01777", "-1"} {
		if _, err := (Push{SocketMode: text}).Mode(); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	for text, want := range map[string]int{"": -1, "0": 0, "1234": 1234} {
		if got, err := (Push{SocketGroup: text}).Group(); err != nil || got != want {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
	}
}
