package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/testkit"
)

func parsed(t *testing.T, yaml string) Config {
	t.Helper()
	c, err := Parse([]byte("backend: {url: 'http://app'}\n"+yaml), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func texts(changes []Change) (out []string) {
	for _, c := range changes {
		out = append(out, c.String())
	}
	return out
}

func TestReload_TakesWhatIsLiveAndNamesTheRest(t *testing.T) {
	f := func(from, to string, changed, restart []string) {
		t.Helper()
		now, next := parsed(t, from), parsed(t, to)
		r, err := now.Reload(next)
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(r.Changed); !slices.Equal(got, changed) {
			t.Errorf("%s → %s: changed\n%q, want\n%q", from, to, got, changed)
		}
		if got := texts(r.Restart); !slices.Equal(got, restart) {
			t.Errorf("%s → %s: restart\n%q, want\n%q", from, to, got, restart)
		}
		again, err := r.Config.Reload(next)
		if err != nil || len(again.Changed) != 0 || !slices.Equal(texts(again.Restart), restart) {
			t.Errorf("%s → %s: a second time %q %q %v", from, to, texts(again.Changed), texts(again.Restart), err)
		}
	}
	f("", "", nil, nil)
	f("trusted_proxies: []", "", nil, nil)
	f("", "limits: {connections_per_ip: 5}", []string{"limits.connections_per_ip: 0 → 5"}, nil)
	f("limits: {message_rate: 0.5}", "", []string{"limits.message_rate: 0.5 → 0"}, nil)
	f("", "webhook: {timeout: 1m, max_answer: 64KiB}", []string{"webhook.timeout: 5s → 1m0s", "webhook.max_answer: 1MiB → 64KiB"}, nil)
	f("", "trusted_proxies: [10.0.0.1, 10.1.0.0/16]", []string{"trusted_proxies: [] → [10.0.0.1/32, 10.1.0.0/16]"}, nil)
	f("", "websocket: {allowed_origins: ['https://a'], paths: [/ws]}", []string{"websocket.allowed_origins: [] → [https://a]"},
		[]string{"websocket.paths: [/_push] → [/ws]"})
	f("", "listen: ':9090'", nil, []string{"listen: :8080 → :9090"})
	f("push: {hosts: [a], max_body: 1KiB}", "push: {hosts: [b]}", []string{"push.hosts: [a] → [b]"}, []string{"push.max_body: 1KiB → 1MiB"})
	f("", "auth: {forward: {url: 'https://user:secret@app/me', user: /id}}",
		[]string{`auth.forward.url: "" → https://[redacted]@app/me`, `auth.forward.user: "" → /id`}, nil)
	f("", "channels: [{match: 'news.*', history: {messages: 5, age: 1m}}]\nusers: {history: {messages: 1, age: 1h}}\nhistory_total: 1MiB", []string{
		"channels: [{match: **, subscribe: granted, publish: nobody, presence: false, presence_frames: 200, history: {messages: 0, age: 0s}}] → [{match: news.*, subscribe: granted, publish: nobody, presence: false, presence_frames: 200, history: {messages: 5, age: 1m0s}}]", "users.history.messages: 0 → 1", "users.history.age: 0s → 1h0m0s",
	}, []string{"history_total: 256MiB → 1MiB"})
	f("", "log: {level: debug, format: json, access: all, query: true}",
		[]string{"log.level: info → debug", "log.format: text → json", "log.access: off → all", "log.query: false → true"}, nil)
}

func TestReload_NeverShowsASecret(t *testing.T) {
	const one, two = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	whsec := func(s string) string { return "'whsec_" + s + "'" }
	yaml := func(s string) string {
		return "auth: {jwt: {secret: " + s + "}}\npush: {tokens: [" + s + "]}\nadmin: {tokens: [" + s + "]}\n" +
			"redis: {password: " + s + ", addresses: ['redis://u:" + s + "@h']}\n" +
			"webhook: {url: /hook, events: ['*'], secrets: [" + whsec(s) + "]}"
	}
	r, err := parsed(t, yaml(one)).Reload(parsed(t, yaml(two)))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(append(texts(r.Changed), texts(r.Restart)...), "\n")
	want := "auth.jwt.secret: changed\npush.tokens: changed\nwebhook.secrets: changed\nadmin.tokens: changed\n" +
		"redis.addresses: [redis://[redacted]@h] → [redis://[redacted]@h]\nredis.password: changed"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Each of the two is good, but not what runs when one half of the new one waits for a
// restart: push would be open to everybody.
func TestReload_RefusesHalvesThatDoNotFit(t *testing.T) {
	now := parsed(t, "push: {listen: '0.0.0.0:8081', tokens: [t0ken]}")
	_, err := now.Reload(parsed(t, "push: {listen: '127.0.0.1:8081'}"))
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 1 || problems[0].Path != "push.listen" {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"set push.tokens", "restart the process: until then the new file's push.listen cannot count"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %s", want, err)
		}
	}
}

func TestReload_TLSIsNotTurnedOnOrOff(t *testing.T) {
	cert := testkit.NewCertificate(t, t.TempDir(), "localhost")
	other := testkit.NewCertificate(t, t.TempDir(), "localhost")
	plain := parsed(t, "")
	with := func(c *testkit.Certificate) Config {
		return parsed(t, "tls: {cert_file: "+c.CertFile+", key_file: "+c.KeyFile+"}")
	}
	for _, pair := range [][2]Config{{plain, with(cert)}, {with(cert), plain}} {
		r, err := pair[0].Reload(pair[1])
		if err != nil || len(r.Changed) != 0 || len(r.Restart) != 2 || r.Config.TLS != pair[0].TLS {
			t.Errorf("got %q, restart %q, %v", texts(r.Changed), texts(r.Restart), err)
		}
	}
	r, err := with(cert).Reload(with(other))
	if err != nil || len(r.Changed) != 2 || r.Config.TLS.CertFile != other.CertFile {
		t.Errorf("another certificate: %q %q %v", texts(r.Changed), texts(r.Restart), err)
	}
}

func TestNamed_SeesFilesThatChangedUnderTheirNames(t *testing.T) {
	dir := t.TempDir()
	cert := testkit.NewCertificate(t, dir, "localhost")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	pem, _ := os.ReadFile(cert.CertFile)
	if err := os.WriteFile(ca, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	c := Default()
	c.TLS = TLS{CertFile: cert.CertFile, KeyFile: cert.KeyFile}
	c.Backend.TLS.CAFile = ca
	before := c.ReadNamed()
	var r Reload
	if before.Compare(c.ReadNamed(), &r); len(r.Changed)+len(r.Restart) != 0 {
		t.Errorf("nothing changed, got %+v", r)
	}
	testkit.NewCertificate(t, dir, "localhost")
	if err := os.WriteFile(ca, append(pem, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	before.Compare(c.ReadNamed(), &r)
	if got := texts(r.Changed); !slices.Equal(got, []string{"tls.cert_file: changed", "tls.key_file: changed"}) {
		t.Errorf("changed %q", got)
	}
	if got := texts(r.Restart); !slices.Equal(got, []string{"backend.tls.ca_file: changed"}) {
		t.Errorf("restart %q", got)
	}
}

// A key that was renamed would silently want a restart.
func TestLive_NamesKeysThatThereAre(t *testing.T) {
	var keys []string
	collectKeys(reflect.TypeFor[Config](), "", &keys)
	for _, l := range live {
		if !slices.ContainsFunc(keys, func(key string) bool { return within(key, l) }) {
			t.Errorf("%s is not a key", l)
		}
	}
}

func collectKeys(of reflect.Type, path string, keys *[]string) {
	for i := range of.NumField() {
		key := strings.TrimPrefix(path+"."+of.Field(i).Tag.Get("yaml"), ".")
		*keys = append(*keys, key)
		if of.Field(i).Type.Kind() == reflect.Struct {
			collectKeys(of.Field(i).Type, key, keys)
		}
	}
}
