package config

import (
	"strings"
	"testing"
)

func env(values map[string]string) Env {
	return func(name string) (string, bool) { v, ok := values[name]; return v, ok }
}

func TestParse_TakesVariablesFromTheEnvironment(t *testing.T) {
	c, err := Parse([]byte("# ${IGNORED}\nbackend: {url: '${APP}'} # ${IGNORED}\nlisten: '${LISTEN:-:9000}'\nlimits:\n  connections: ${N}\n  message_rate: \"${R}\"\n"+
		"websocket: {ping_interval: \"${P}\", compression: '${B}', max_message_size: '${S}KiB', paths: ['/${X}/a', /b]}"),
		env(map[string]string{"APP": "http://app", "N": "7", "R": "1.5", "P": "30s", "B": "true", "S": "8", "X": "x"}))
	if err != nil {
		t.Fatal(err)
	}
	if c.Backend.URL != "http://app" || c.Listen != ":9000" || c.Limits.Connections != 7 || c.Limits.MessageRate != 1.5 ||
		c.WebSocket.PingInterval.String() != "30s" || !c.WebSocket.Compression || c.WebSocket.MaxMessageSize != 8*KiB || c.WebSocket.Paths[0] != "/x/a" {
		t.Errorf("got %+v", c)
	}
}

// What the environment holds used to be put into the YAML text: it could break the
// file, be cut at a #, or add keys.
func TestParse_EnvironmentValuesArriveAsTheyAre(t *testing.T) {
	for _, v := range []string{
		"p: q", "@x", "a #b", `"`, `'`, `\`, `\n`, "a\nb: c", "{", "[", "*", "&a", "!x", "%", "`", "null", "~", "true", "010", "- a", "${APP}", "$${", " a ", "ä",
	} {
		for _, yaml := range []string{"redis: {password: \"${V}\"}", "redis:\n  password: ${V}", "redis: {password: '${V}'}", "redis: {password: 'x${V}y'}"} {
			c, err := Parse([]byte(minimal+yaml), env(map[string]string{"V": v}))
			if err != nil {
				t.Errorf("%s with %q: %v", yaml, v, err)
				continue
			}
			if got := strings.TrimSuffix(strings.TrimPrefix(string(c.Redis.Password), "x"), "y"); got != v {
				t.Errorf("%s: got %q, want %q", yaml, got, v)
			}
		}
	}
}

func TestParse_NothingIsReplacedInKeysAndEscapesAreLiteral(t *testing.T) {
	set := env(map[string]string{"K": "listen"})
	if _, err := Parse([]byte(minimal+"${K}: ':1'"), set); err == nil || !strings.Contains(err.Error(), "${K}: unknown key") {
		t.Errorf("a key: got %v", err)
	}
	for yaml, want := range map[string]string{"$${K}": "${K}", "a$${": "a${", "$$${K}": "$${K}", "$x $$": "$x $$", "${A:-${K}}": "", "${NO:-}": "", "${A:-b:c}": "b:c"} {
		c, err := Parse([]byte(minimal+"redis:\n  password: "+yaml), set)
		if yaml == "${A:-${K}}" {
			if err == nil {
				t.Errorf("%s: no problem", yaml)
			}
		} else if err != nil || string(c.Redis.Password) != want {
			t.Errorf("%s: got %q, %v, want %q", yaml, string(c.Redis.Password), err, want)
		}
	}
}

func TestParse_AVariableThatIsNotSetIsOneProblem(t *testing.T) {
	f := func(yaml, want string) {
		t.Helper()
		_, err := Parse([]byte(yaml), noEnv)
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s\ngot\n%v\nwant one problem, %q", yaml, err, want)
		}
	}
	f("backend: {url: '${MISSING}'}", "backend.url: environment variable MISSING is not set")
	f(minimal+"webhook: {url: 'http://h/x', events: ['*'], secrets: ['${MISSING}']}", "webhook.secrets[0]: environment")
	f(minimal+"push: {listen: ':1', tokens: ['${MISSING}']}", "push.tokens[0]: environment")
	f(minimal+"auth: {jwt: {secret: '${MISSING}', algorithms: [HS256]}}", "auth.jwt.secret: environment")
	f(minimal+"auth: {jwt: {jwks_url: '${MISSING}', algorithms: [RS256]}}", "auth.jwt.jwks_url: environment")
	f(minimal+"auth: {forward: {url: 'http://h/me', user: '${MISSING}'}}", "auth.forward.user: environment")
	f(minimal+"tls: {cert_file: '${MISSING}', key_file: x}", "tls.cert_file: environment")
	f(minimal+"websocket: {ping_interval: '${MISSING}'}", "websocket.ping_interval: environment")
	f(minimal+"push: {listen: ':1', tokens_file: /does/not/exist}", "push.tokens_file: /does/not/exist: no such file")
	f(minimal+"webhook: {url: 'http://h/x', events: ['*'], secrets_file: /does/not/exist}", "webhook.secrets_file: /does/not/exist: no such file")
	f(minimal+"listen: '${}'", "listen: want ${NAME}")
	f(minimal+"listen: '${A?b}'", "listen: want ${NAME}")
}

func FuzzExpand(f *testing.F) {
	f.Add("a", "b")
	f.Add("$${", "${V}")
	f.Add("p: q", "$")
	f.Fuzz(func(t *testing.T, text, value string) {
		set := env(map[string]string{"V": value})
		escaped := strings.ReplaceAll(text, "${", "$${")
		if got, err := expand(escaped, set); err != nil || got != text {
			t.Errorf("expand(%q) = %q, %v, want %q", escaped, got, err, text)
		}
		if strings.HasSuffix(text, "$") {
			return // what follows would be a literal
		}
		if got, err := expand(escaped+"${V}", set); err != nil || got != text+value {
			t.Errorf("expand(%q) with V=%q: got %q, %v", escaped+"${V}", value, got, err)
		}
		_, _ = expand(text, set)
	})
}
