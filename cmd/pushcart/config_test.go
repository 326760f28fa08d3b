package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/pushcart/pushcart/config"
)

func TestConfig_ShowsWhatIsInForceAndFromWhere(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("APP", "http://127.0.0.1:3000")
	write(t, "pushcart.yaml", "backend:\n  url: ${APP}\nauth: {jwt: {secret: "+testSecret+"}}\nredis: {addresses: ['redis://u:geheim@h:6379']}\n")
	const want = `listen: :9090                            # --listen
backend:
  url: http://127.0.0.1:3000             # pushcart.yaml:2, env APP
auth:
  jwt:
    secret: '[redacted]'                 # pushcart.yaml:3
redis:
  addresses: ['redis://[redacted]@h:6379'] # pushcart.yaml:4
`
	if got := mustRun(t, "config", "--changed", "--listen", ":9090"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	all := mustRun(t, "config")
	if strings.Contains(all, "geheim") || strings.Contains(all, testSecret) {
		t.Errorf("a secret is shown:\n%s", all)
	}
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(all), &doc); err != nil {
		t.Fatalf("it is not YAML: %v\n%s", err, all)
	}
	for _, e := range config.Entries(config.Default()) {
		at := any(doc)
		for name := range strings.SplitSeq(e.Key, ".") {
			section, _ := at.(map[string]any)
			at = section[name]
		}
		if at == nil {
			t.Errorf("%s is missing", e.Key)
		}
	}
	var list []config.Entry
	if err := json.Unmarshal([]byte(mustRun(t, "config", "--json", "--changed")), &list); err != nil || len(list) != 3 || list[0].From != "pushcart.yaml:2, env APP" {
		t.Errorf("got %+v %v", list, err)
	}
}

// What is shown of a file that shows nothing secret can be used as it is.
func TestConfig_IsAConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "pushcart.yaml", "backend: {url: http://h}\nlisten: '[::]:80'\ntrusted_proxies: [10.0.0.0/8, '::1']\n"+
		"auth: {jwt: {user_claim: 'a: b # c', channels_claim: '*x', issuer: \"two\\nlines \\\" and '\", audience: 'yes', sources: ['query:{t}', header]}}\n")
	shown := mustRun(t, "config")
	write(t, "again.yaml", shown)
	if out := mustRun(t, "check", "again.yaml"); out != "again.yaml is good\n" {
		t.Errorf("got %s", out)
	}
	again := mustRun(t, "config", "--config", "again.yaml")
	strip := func(text string) (out []string) {
		for line := range strings.Lines(text) {
			value, _, _ := strings.Cut(line, " # again")
			value, _, _ = strings.Cut(value, " # pushcart")
			value, _, _ = strings.Cut(value, " # default")
			out = append(out, strings.TrimSpace(value))
		}
		return out
	}
	if a, b := strip(shown), strip(again); strings.Join(a, "\n") != strings.Join(b, "\n") {
		t.Errorf("got\n%s\nthen\n%s", shown, again)
	}
}

func TestConfig_OfABadFileIsItsProblems(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "pushcart.yaml", "backend: {ulr: x}\n")
	code, out, errs := run(t, "config")
	if code != 2 || out != "" || !strings.Contains(errs, "pushcart.yaml:1: backend.ulr: unknown key; did you mean url?") {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
}

func TestConfigSchema_IsTheCommittedOne(t *testing.T) {
	want, err := os.ReadFile("../../pushcart.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := mustRun(t, "config", "schema"); got != string(want) {
		t.Error("it prints another schema: go test ./config/schema -update")
	}
}
