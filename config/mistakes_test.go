package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func load(t *testing.T, yaml string, flags ...Flag) error {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("pushcart.yaml", []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(Source{File: "pushcart.yaml", Env: noEnv, Flags: flags})
	return err
}

func TestLoad_ProblemsHaveTheirPlaceInTheOrderOfTheFile(t *testing.T) {
	err := load(t, "websocket:\n  pong_timeout: 60s\n  paths:\n    - ws\nauth:\n  jwt:\n    secret: short\nlogg: {}\nlog: {level: loud}\nlog: {}\n",
		Flag{Name: "--listen", Key: "listen", Value: "8080"})
	want := `pushcart.yaml:2: websocket.pong_timeout: 1m0s must be shorter than ping_interval (25s)
pushcart.yaml:4: websocket.paths[0]: want a path like "/_push" or "/rt/*", got "ws"
pushcart.yaml:7: auth.jwt.secret: has 5 bytes; an HMAC secret needs at least 32
pushcart.yaml:8: logg: unknown key; did you mean log?
pushcart.yaml:9: log.level: want debug or info or warn or error, got "loud"
pushcart.yaml:10: log: is already set in line 9; join the two
--listen: listen: want host:port, got "8080": ":8080"?
pushcart.yaml: backend.url: is required: the app's address, like http://127.0.0.1:3000`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestLoad_AFileThatIsNotThereIsAProblem(t *testing.T) {
	_, err := Load(Source{File: "/does/not/exist.yaml", Env: noEnv})
	if _, ok := err.(Problems); !ok || err.Error() != "/does/not/exist.yaml: no such file or directory" {
		t.Errorf("got %T %v", err, err)
	}
}

func TestLoad_OnlyWhatIsWantedIsJudged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	yaml := "tls: {cert_file: /none, key_file: /none}\nredis: {password: '${MISSING}'}\npush: {listen: '127.0.0.1:9', tokens: [abc]}\n"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Source{File: file, Env: noEnv, Only: []string{"push.listen", "push.tokens"}})
	if err != nil || c.Push.Listen != "127.0.0.1:9" || len(c.Push.Tokens) != 1 {
		t.Errorf("got %+v, %v", c.Push, err)
	}
	if _, err := Load(Source{File: file, Env: noEnv, Only: []string{"tls"}}); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("tls: got %v, want its two problems", err)
	}
}

// TestLoad_SaysWhatToTypeInstead goes through what newcomers write.
func TestLoad_SaysWhatToTypeInstead(t *testing.T) {
	f := func(yaml string, want ...string) {
		t.Helper()
		err := load(t, yaml)
		if err == nil {
			t.Errorf("%q: no problem, want %q", yaml, want)
			return
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(want) {
			t.Errorf("%q: got\n%v\nwant %d problems", yaml, err, len(want))
			return
		}
		for i, line := range lines {
			if line != "pushcart.yaml"+want[i] {
				t.Errorf("%q: got\n%s\nwant\npushcart.yaml%s", yaml, line, want[i])
			}
		}
	}
	required := ": backend.url: is required: the app's address, like http://127.0.0.1:3000"

	// The file as YAML.
	f("backend:\n\turl: http://h\n", ":2: is indented with a tab; YAML needs spaces")
	f("log:\n  level: info\n\tformat: json\n", ":3: is indented with a tab; YAML needs spaces")
	f("log:\n   level: info\n  format: json\n", ":3: the line is not indented like those it belongs to")
	f("log:\n  level: info\n   format: json\n", ":3: a value that contains a colon and a space must be in quotes; or the line is indented too far")
	f("listen: a: b\n", ":1: a value that contains a colon and a space must be in quotes; or the line is indented too far")
	f("push: {tokens: [a, b}\n", ":1: a bracket or brace is not closed or not opened, or a comma is missing")
	f("# c\n\nbackend: {url: ${APP}}\nlog: {}\n", ":3: a value with braces must be in quotes within { } and [ ]")
	f("listen: ':1'\nwebhook: {url: http://h/{event}}\n", ":2: a value with braces must be in quotes within { } and [ ]")
	f("webhook: {events: [*]}\n", `:1: a value that begins with * or & must be in quotes: "*"`)
	f("websocket:\n  allowed_origins:\n    - *.example.com\n", `:3: a value that begins with * or & must be in quotes: "*"`)
	f("redis:\n  password: @x\n", ":2: a value that begins with @, `, % or a tab must be in quotes")
	f("redis:\n  password: 'x\nlog: {}\n", ":2: a quote that begins here is not closed")
	f("redis: {password: 'it's'}\n", ":1: a bracket or brace is not closed or not opened, or a comma is missing")
	f("redis:\n  password: 'it's'\n", ":2: text follows after a closing quote; within '…' a ' is written ''")
	f(`redis: {password: "\d"}`, `:1: a \ begins an escape within "…"; use '…' instead`)
	f("listen: ':1'\nbackend\n", ":2: want a key, a colon, a space and a value")
	f("listen: ':1'\n---\nlog: {}\n", ": has a second YAML document after ---; want one", required)
	f("redis: {password: !x y}\n"+minimal, ":1: redis.password: has a YAML tag; a value that begins with ! must be in quotes")

	// Keys.
	f("backend:\nurl: http://h\n", ":1: backend: is empty; indent its keys below it, or leave it out", ":1"+required,
		":2: url: unknown key; did you mean backend.url or auth.forward.url or webhook.url? Look at the indentation")
	f(minimal+"websocket: {pingInterval: 1s, ping-interval: 1s, allowed_origin: []}",
		":2: websocket.pingInterval: unknown key; did you mean ping_interval?", ":2: websocket.ping-interval: unknown key; did you mean ping_interval?",
		":2: websocket.allowed_origin: unknown key; did you mean allowed_origins?")
	f(minimal+"jwt: {}", ":2: jwt: unknown key; did you mean auth.jwt? Look at the indentation")
	f(minimal+"trusted_proxy: []", ":2: trusted_proxy: unknown key; did you mean trusted_proxies?")
	f(minimal+"<<: {}", ":2: <<: unknown key; YAML's merge keys are not supported here")
	f("backend: {url:'http://h'}\n", ":1: backend.url: a key needs a space after its colon")
	f(minimal+"redis: {password:geheim}", ":2: redis.password: a key needs a space after its colon")
	f(minimal+"redis:\n  password:geheim\n", ":3: redis.password: a key needs a space after its colon")
	f("listen:8080", ":1: listen: a key needs a space after its colon", required)
	f("just words", `:1: want keys and values, got "just words"`, required)
	f(minimal+"log:\n  level:debug\n", ":3: log.level: a key needs a space after its colon")
	f(minimal+"log:\n  level: info\nlog:\n  format: json\n", ":4: log: is already set in line 2; join the two")

	// Values.
	f("backend: {url: [http://h]}", `:1: backend.url: want one value, got a list; write "http://h" without the brackets or dash`)
	f(minimal+"listen: {port: 1}", ":2: listen: want one value, got keys and values")
	f(minimal+"websocket: {paths: /ws}", `:2: websocket.paths: want a list, got "/ws"; write ["/ws"]`)
	f(minimal+"push: {tokens: geheim}", ":2: push.tokens: want a list, got one value")
	f(minimal+"redis: {password: [geheim]}", ":2: redis.password: want one value, got a list")
	f(minimal+"listen:", `:2: listen: is empty; leave the key out for its default, or write "" for nothing`)
	f(minimal+"listen: 8080", `:2: listen: want host:port, got "8080": ":8080"?`)
	f(minimal+"auth: {anonymous: yes}", `:2: auth.anonymous: want true or false, got "yes": true?`)
	f(minimal+"auth: {anonymous: Off}", `:2: auth.anonymous: want true or false, got "Off": false?`)
	f(minimal+"auth: {anonymous: maybe}", `:2: auth.anonymous: want true or false, got "maybe"`)
	f(minimal+"limits: {connections: 1.5}", `:2: limits.connections: want a whole number, got "1.5"`)
	f(minimal+"limits: {connections: 10k}", `:2: limits.connections: want a whole number, got "10k"`)
	f(minimal+"limits: {message_rate: fast}", `:2: limits.message_rate: want a number, got "fast"`)
	f(minimal+"webhook: {timeout: 5}", ":2: webhook.timeout: 5 has no unit: 5s?")
	f(minimal+"webhook: {timeout: 5 seconds}", `:2: webhook.timeout: want a duration like 10s or 500ms, got "5 seconds": 5s?`)
	f(minimal+"webhook: {timeout: 5mins}", `:2: webhook.timeout: want a duration like 10s or 500ms, got "5mins": 5m?`)
	f(minimal+"webhook: {retry: {give_up_after: 7d}}", `:2: webhook.retry.give_up_after: want a duration like 10s or 500ms, got "7d": 168h?`)
	f(minimal+"push: {max_body: 1MB}", `:2: push.max_body: want a size like 64KiB, got "1MB": 1MiB?`)
	f(minimal+"push: {max_body: 64 k}", `:2: push.max_body: want a size like 64KiB, got "64 k": 64KiB?`)
	f(minimal+"log: {level: INFO}", `:2: log.level: want debug or info or warn or error, got "INFO": info?`)
	f(minimal+"trusted_proxies: [nginx]", `:2: trusted_proxies[0]: want an address or a network, like 10.0.0.1 or 10.0.0.0/8, got "nginx"`)
	f(minimal+"auth: {jwt: {jwks_url: 'http://h/k', algorithms: [rs256]}}", `:2: auth.jwt.algorithms[0]: want one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, got "rs256": RS256?`)
	f(minimal+"log: {level: warning}", `:2: log.level: want debug or info or warn or error, got "warning": warn?`)
	f(minimal+"websocket: {allowed_origins: [example.com, 'https://a.example.com/', 'a/b']}",
		`:2: websocket.allowed_origins[0]: want "https://app.example.com", "https://*.example.com", "file://", "app://name", "null" or "*", got "example.com": https://example.com?`,
		`:2: websocket.allowed_origins[1]: want "https://app.example.com", "https://*.example.com", "file://", "app://name", "null" or "*", got "https://a.example.com/": https://a.example.com?`,
		`:2: websocket.allowed_origins[2]: want "https://app.example.com", "https://*.example.com", "file://", "app://name", "null" or "*", got "a/b"`)
	f(minimal+"webhook: {events: [message], secrets: [whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=]}", ":2: webhook.url: is required with webhook.events and webhook.secrets, like /hooks/push")
	f(minimal+"webhook: {url: hooks/push, unsigned: true, events: [message]}",
		`:2: webhook.url: want an http:// or https:// URL, or a path of the backend, got "hooks/push": /hooks/push?`)
	f(minimal+"webhook: {url: /h, unsigned: true, events: [mesage]}", `:2: webhook.events[0]: want one of connect, connected, message, subscribe, publish, disconnected, user.online, user.offline, channel.occupied, channel.vacated, presence.join, presence.leave or "*", got "mesage": message?`)
	f(minimal+"redis: {addresses: [redis]}", `:2: redis.addresses[0]: want host:port, got "redis": redis:6379?`)
	f(minimal+"redis: {addresses: ['::1:6379']}", `:2: redis.addresses[0]: want host:port, got "::1:6379": [::1]:6379?`)
	f(minimal+"redis: {addresses: ['redis://u:ge/heim@h:6379']}", ":2: redis.addresses[0]: want host:port, a redis:// or rediss:// URL or unix:/path; "+
		"a /, ? or # in its password is written %2F, %3F, %23")
	f(minimal+"redis: {addresses: ['unix:redis.sock']}", ":2: redis.addresses[0]: want the absolute path of a socket, like unix:/run/redis/redis.sock or "+
		"unix://user:password@/run/redis/redis.sock")
	f(minimal+"redis: {addresses: ['unix:/redis.sock'], tls: {enabled: true}}", ":2: redis.addresses[0]: a unix socket has no TLS: leave out redis.tls.enabled")
	f(minimal+"redis: {addresses: ['redis://h/1'], mode: cluster}", ":2: redis.addresses[0]: the database must be 0: a Cluster has no others")
	f(minimal+"redis: {addresses: ['redis://h:6379/x']}", ":2: redis.addresses[0]: want a database number after the host, like redis://host:6379/0")
	f(minimal+"redis: {addresses: ['redis://h/0?ssl=true']}", ":2: redis.addresses[0]: options after ? are not supported; set them as keys of redis")
	f(minimal+"redis: {url: 'redis://h'}", ":2: redis.url: unknown key; did you mean addresses?")
	f(minimal+"tls: {cert: x}", ":2: tls.cert: unknown key; did you mean cert_file?")
	f(minimal+"log: {access: some}", `:2: log.access: want off or errors or all, got "some"`)
	f(minimal+"admin: {payloads: true}\nsse: {}", ":2: admin.payloads: is not available in this version",
		":3: sse: is not available in this version")
	f("backend: {url: 'localhost:3000'}", `:1: backend.url: want http://, https:// or unix:, got "localhost:3000": http://localhost:3000?`)
	f("backend: {url: '3000'}", `:1: backend.url: want http://, https:// or unix:, got "3000": http://127.0.0.1:3000?`)
	f(minimal+"push: {listen: 'unix:/tmp/p', socket_mode: 0o660}", `:2: push.socket_mode: want permissions in octal, like "0660", got "0o660"`)
	f(minimal+"push: {socket_group: no-such-group}", `:2: push.socket_group: this machine has no group "no-such-group"`)
}
