package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestEffective_SaysWhereEachValueCameFrom(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"secret": "0123456789abcdef0123456789abcdef\n", "tokens": "from-a-file\n",
		"c.yaml": "listen: '${HOST}:${PORT:-9}'\nbackend:\n  connect_timeout: 1m\n  url: http://h\n" +
			"auth: {jwt: {secret_file: secret}}\npush:\n  tokens:\n    - written\n    - '${TOKEN}'\n  tokens_file: tokens\n" +
			"redis: {addresses: ['redis://user:geheim@h:6379']}\ntrusted_proxies: [10.0.0.1]\nwebsocket: {max_message_size: 1024}\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"HOST": "127.0.0.1", "TOKEN": "topsecret"}
	all, err := Effective(Source{
		File: "c.yaml", Flags: []Flag{{Name: "--backend", Key: "backend.url", Value: "http://other"}},
		Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Entry{}
	for _, e := range all {
		got[e.Key] = e
	}
	for _, want := range []Entry{
		{"listen", "127.0.0.1:9", "c.yaml:1, env HOST"},
		{"backend.connect_timeout", "1m", "c.yaml:3"},
		{"backend.url", "http://other", "--backend"},
		{"backend.max_connections", 1024, "default"},
		{"auth.jwt.secret", "[redacted]", "c.yaml:5"},
		{"auth.jwt.secret_file", "secret", "c.yaml:5"},
		{"auth.jwt.require_exp", true, "default"},
		{"push.tokens", []any{"[redacted]", "[redacted]", "[redacted]"}, "c.yaml:7 and c.yaml:10, env TOKEN"},
		{"push.tokens_file", "tokens", "c.yaml:10"},
		{"redis.addresses", []any{"redis://[redacted]@h:6379"}, "c.yaml:11"},
		{"trusted_proxies", []any{"10.0.0.1/32"}, "c.yaml:12"},
		{"websocket.max_message_size", "1KiB", "c.yaml:13"},
		{"webhook.retry.give_up_after", "24h", "default"},
	} {
		if !reflect.DeepEqual(got[want.Key], want) {
			t.Errorf("got %+v, want %+v", got[want.Key], want)
		}
	}
}

// Every secret of the structs is hidden, also one that comes in a later version.
func TestEntries_HideEverySecret(t *testing.T) {
	c := Default()
	secrets := 0
	fill(reflect.ValueOf(&c).Elem(), &secrets)
	for _, e := range Entries(c) {
		if strings.Contains(fmt.Sprint(e.Value), "geheim") {
			t.Errorf("%s shows %v", e.Key, e.Value)
		}
	}
	if secrets < 5 {
		t.Errorf("only %d secrets found", secrets)
	}
}

// fill sets every secret.
func fill(v reflect.Value, found *int) {
	switch into := v.Addr().Interface().(type) {
	case *Secret:
		*into = "geheim"
		*found++
	case *[]Secret:
		*into = []Secret{"geheim"}
		*found++
	default:
		if v.Kind() == reflect.Struct && !isText(v) {
			for i := range v.NumField() {
				fill(v.Field(i), found)
			}
		}
	}
}

func TestEffective_OfABadFileIsItsProblems(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("backend: {ulr: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Effective(Source{File: file, Env: noEnv})
	if problems, ok := err.(Problems); !ok || len(problems) != 2 {
		t.Errorf("got %v", err)
	}
}

func TestDurationText_IsAsOneWritesIt(t *testing.T) {
	for _, text := range []string{"0s", "500ms", "10s", "1m", "1m30s", "1h", "1h30m", "1h0m1s", "24h", "1m0.5s"} {
		v := reflect.New(reflect.TypeOf(Default().Backend.ConnectTimeout)).Elem()
		d := decoder{}
		d.text(text, v, "x")
		if got := printable(v); got != text {
			t.Errorf("%s: got %s", text, got)
		}
	}
}
