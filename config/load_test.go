package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func noEnv(string) (string, bool) { return "", false }

const minimal = "backend: {url: 'http://app'}\n"

func TestParse_TakesOriginsOfAnyScheme(t *testing.T) {
	for _, o := range []string{
		"*", "null", "https://app.example.com", "http://localhost:5173", "https://*.example.com:8443", "http://[::1]:3000",
		"file://", "chrome-extension://abcdefgh", "app://localhost", "app://-", "capacitor://localhost", "com.example.app://",
	} {
		if _, err := Parse([]byte(minimal+"websocket: {allowed_origins: ['"+o+"']}"), noEnv); err != nil {
			t.Errorf("%s: got %v", o, err)
		}
	}
}

func TestParse_ReportsEveryProblemWithItsPath(t *testing.T) {
	f := func(yaml string, want ...string) {
		t.Helper()
		_, err := Parse([]byte(yaml), noEnv)
		var problems Problems
		if !errors.As(err, &problems) {
			t.Errorf("%s\ngot %v, want problems %q", yaml, err, want)
			return
		}
		if len(problems) != len(want) {
			t.Errorf("%s\ngot %d problems:\n%v\nwant %d: %q", yaml, len(problems), err, len(want), want)
			return
		}
		for _, w := range want {
			if !strings.Contains("\n"+err.Error(), "\n"+w) {
				t.Errorf("%s\ngot\n%v\nwant a line that begins with %q", yaml, err, w)
			}
		}
	}
	f("", "backend.url: is required")
	f("backend: {ulr: 'http://app'}", "backend.ulr: unknown key; did you mean url?", "backend.url: is required")
	f("backend: {url: 'ftp://app'}", `backend.url: want http://`)
	f("backend: {url: 'http://app/path'}", `backend.url: want no path`)
	f("backend: 3", `backend: want keys and values, got "3"`, "backend.url: is required")
	f(minimal+"listen: 8080", `listen: want host:port, got "8080"`)
	f(minimal+"websocket: {pong_timeout: 60s}\nlog: {level: loud}", "websocket.pong_timeout: 1m0s must be shorter", "log.level: want debug")
	f(minimal+"websocket: {ping_interval: soon}", `websocket.ping_interval: want a duration`)
	f(minimal+"websocket: {max_message_size: 64Kilo}", "websocket.max_message_size: want a size")
	f(minimal+"websocket: {paths: [ws]}", `websocket.paths[0]: want a path`)
	f(minimal+"websocket: {allowed_origins: ['*', example.com]}", `websocket.allowed_origins[1]: want`)
	f(minimal+"websocket: {allowed_origins: ['file:', 'https://', 'https://a.b/', 'app://*', 'a b://c', 'https://u@a.b', '://x']}",
		"websocket.allowed_origins[0]: want", "websocket.allowed_origins[1]: want", "websocket.allowed_origins[2]: want",
		"websocket.allowed_origins[3]: want", "websocket.allowed_origins[4]: want", "websocket.allowed_origins[5]: want",
		"websocket.allowed_origins[6]: want")
	f(minimal+"websocket: {ping_interval: 87601h}", "websocket.ping_interval: must not be more than 87600h0m0s (10 years)")
	f(minimal+"webhook: {timeout: 1000000h, retry: {max: 2562047h}}", "webhook.timeout: must not be", "webhook.retry.max: must not be")
	f(minimal+"websocket: {inbound_total: 8388608GiB}", "websocket.inbound_total: must not be more than")
	f(minimal+"websocket: {inbound_total: 4GiB, max_message_size: 2GiB, outbox: {bytes: 2GiB}}",
		"websocket.max_message_size: must not be more than 1GiB", "websocket.outbox.bytes: must not be more than 1GiB")
	f(minimal+"push: {max_body: 3GiB}\nwebhook: {max_answer: 2GiB}", "push.max_body: must not be", "webhook.max_answer: must not be")
	f(minimal+"limits: {connections: 3000000000}", "limits.connections: must not be more than 2147483647")
	f(minimal+"redis: {mode: sentinel}", "redis.addresses: mode sentinel needs the addresses of sentinels")
	f(minimal+"redis: {mode: shards}", "redis.mode: want auto or standalone or sentinel or cluster, got \"shards\"")
	f(minimal+"redis: {mode: cluster, database: 1}", "redis.database: must be 0: a Cluster has no others")
	f(minimal+"webhook: {format: structurd, batch: {events: 0, wait: -1s}, breaker: {failures: -1}}",
		"webhook.format: want binary or structured, got \"structurd\"", "webhook.batch.events: want 1 (no batches) to 1000, got 0",
		"webhook.batch.wait: must not be negative", "webhook.breaker.failures: must not be negative")
	f(minimal+"webhook: {batch: {events: 1001}, breaker: {pause: 0s}}", "webhook.batch.events: want", "webhook.breaker.pause: must be more than 0")
	f(minimal+"webhook: {url: '/h/{evnt}', unsigned: true, events: [message]}", "webhook.url: has braces; only {event} is replaced")
	f(minimal+"trusted_proxies: [10.0.0.0/8, nonsense]", "trusted_proxies[1]:")
	f(minimal+"push: {listen: '0.0.0.0:8081'}", `push.listen: "0.0.0.0:8081" is neither loopback nor a unix socket`)
	f(minimal+"push: {listen: ':8081'}", `push.listen: ":8081" is neither loopback`)
	f(minimal+"webhook: {url: 'http://app/hook', events: ['*']}", "webhook.secrets: is required with webhook.url")
	f(minimal+"webhook: {url: 'http://app/hook', unsigned: true}", "webhook.events: is required")
	f(minimal+"webhook: {url: 'http://app/', unsigned: true, events: [message]}", "webhook.url: would close the whole public listener")
	f(minimal+"webhook: {url: 'http://app/{event}', unsigned: true, events: [message]}", "webhook.url: would close")
	f(minimal+"webhook: {url: 'http://app/h?x=1', unsigned: true, events: [message]}", "webhook.url: has a query")
	f(minimal+"webhook: {url: 'http://app/h', unsigned: true, events: [user.online, user.onlin]}",
		`webhook.events[1]: want one of connect, connected, message, subscribe, publish, disconnected, user.online, user.offline, `+
			`channel.occupied, channel.vacated, presence.join, presence.leave or "*", got "user.onlin": user.online?`)
	f(minimal+"webhook: {outbox: {redis: 0}, dead_letters: {messages: -1, age: 0s}}",
		"webhook.outbox.redis: must be more than 0, got 0", "webhook.dead_letters.messages: must be more than 0, got -1",
		"webhook.dead_letters.age: must be more than 0, got 0s")
	f(minimal+"webhook: {url: 'http://app/h', secrets: [whsec_c2hvcnQ=], events: [message]}", "webhook.secrets[0]: want whsec_")
	f(minimal+"webhook: {on_error: {connect: allow}}", "webhook.on_error.connect: allow lets anybody in")
	f(minimal+"auth: {jwt: {secret: short}}", "auth.jwt.secret: has 5 bytes")
	f(minimal+"auth: {jwt: {jwks_url: 'http://idp/keys'}}", "auth.jwt.algorithms: is required")
	f(minimal+"auth: {jwt: {jwks_url: 'http://idp/keys', algorithms: [none]}}", "auth.jwt.algorithms[0]: want one of")
	f(minimal+"auth: {jwt: {jwks_url: 'http://idp/keys', algorithms: [HS256]}}", "auth.jwt.algorithms[0]: HS256 needs auth.jwt.secret")
	f(minimal+"auth: {forward: {url: 'http://app/me'}}", "auth.forward.user: is required")
	f(minimal+"auth: {forward: {url: '//app/me', user: /id}}", "auth.forward.url: want a URL with its scheme, or a path")
	f(minimal+"auth: {forward: {url: '/me you', user: /id, host: 'a/b', headers: ['x y']}}",
		"auth.forward.url: must not contain spaces", "auth.forward.host: want a name", "auth.forward.headers[0]: want a header's name")
	f(minimal+"webhook: {url: 'hooks', unsigned: true, events: [message], host: 'u@h', max_answer: 0, forward_headers: {message: ['']}}",
		"webhook.url: want an http:// or https:// URL", "webhook.host: want a name", "webhook.max_answer: must be more",
		"webhook.forward_headers.message[0]: want a header's name")
	f(minimal+"webhook: {url: /, unsigned: true, events: [message]}", "webhook.url: would close the whole public listener")
	f(minimal+"webhook: {url: '/x/..', unsigned: true, events: [message]}", "webhook.url: would close the whole public listener")
	f(minimal+"webhook: {url: '/h?x', unsigned: true, events: [message]}", "webhook.url: has a query")
	f(minimal+"auth: {jwt: {sources: [body]}}", "auth.jwt.sources[0]: want header")
	f(minimal+"redis: {addresses: ['a:1', b]}", "redis.addresses[1]: want host:port")
	f(minimal+"tls: {cert_file: x}", "tls: cert_file and key_file go together")
	f(minimal+"limits: {connections: -1, message_rate: .nan}", "limits.connections: must not be negative", "limits.message_rate: want a number")
	f(minimal+"listen: ':1'\nlisten: ':2'", "")
	f(minimal+"log:\n", "log: is empty")
	f("a: [", "")
}

// A path alone means the backend, also where that is a unix socket.
func TestParse_TakesAPathForTheBackendItself(t *testing.T) {
	c, err := Parse([]byte("backend: {url: 'unix:/run/app.sock'}\n"+
		"webhook: {url: '/hooks/push/{event}', unsigned: true, events: [message], host: preserve}\n"+
		"auth: {forward: {url: '/me?full=1', user: /id, host: 'app.example:8443'}}"), noEnv)
	if err != nil || c.Webhook.Wall() != "/hooks/push" {
		t.Errorf("got the wall %q, %v", c.Webhook.Wall(), err)
	}
}

func TestParse_ZeroIsZeroAndAbsentIsTheDefault(t *testing.T) {
	c, err := Parse([]byte(minimal+"limits: {channels_per_connection: 0}\nauth: {jwt: {require_exp: false}}"), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if c.Limits.ChannelsPerConnection != 0 || c.Auth.JWT.RequireExp {
		t.Errorf("written zeroes: got %d and %v, want 0 and false", c.Limits.ChannelsPerConnection, c.Auth.JWT.RequireExp)
	}
	if c.WebSocket.PingInterval != 25*time.Second || c.Push.MaxBody != MiB {
		t.Errorf("absent keys: got %v and %v, want 25s and 1MiB", c.WebSocket.PingInterval, c.Push.MaxBody)
	}
}

func TestParse_ReadsSecretsFromFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(strings.Repeat("s", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Parse([]byte(minimal+"auth: {jwt: {secret_file: "+file+"}}\npush: {tokens_file: "+file+"}"), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if string(c.Auth.JWT.Secret) != strings.Repeat("s", 32) || len(c.Push.Tokens) != 1 {
		t.Errorf("got %q and %d tokens", string(c.Auth.JWT.Secret), len(c.Push.Tokens))
	}
	_, err = Parse([]byte(minimal+"redis: {password: x, password_file: "+file+"}"), noEnv)
	if err == nil || !strings.Contains(err.Error(), "redis.password_file: set together with redis.password") {
		t.Errorf("both set: got %v", err)
	}
}

func TestSecret_IsNeverPrinted(t *testing.T) {
	if s := Secret("geheim"); s.String() != redacted || s.GoString() != redacted || s.LogValue().String() != redacted {
		t.Errorf("got %v", s.String())
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte("backend: {url: '${A:-http://x}'}\nlimits: {message_rate: 1e400}"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data, noEnv)
		if err == nil && c.Backend.URL == "" {
			t.Fatal("accepted without backend.url")
		}
	})
}
