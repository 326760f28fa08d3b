package schema

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/pushcart/pushcart/config"
)

// compiled is the schema as an editor has it once it is rewritten.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := generate(fieldComments(t))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("pushcart.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("pushcart.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// refusedBySchema is what an editor says of a file.
func refusedBySchema(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	var doc any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s.Validate(doc)
}

func noEnv(string) (string, bool) { return "", false }

// refusedByLoader are the problems that a file has at a key, or at any where it is "".
func refusedByLoader(t *testing.T, text, key string) (out []string) {
	t.Helper()
	_, err := config.Parse([]byte(text), noEnv)
	problems, ok := err.(config.Problems)
	if err != nil && !ok {
		t.Fatal(err)
	}
	for _, p := range problems {
		if rest, ok := strings.CutPrefix(p.Path, key); ok && (rest == "" || key == "" || strings.ContainsAny(rest[:1], ".[")) {
			out = append(out, p.Message)
		}
	}
	return out
}

func TestSchema_TakesTheExample(t *testing.T) {
	text, err := os.ReadFile("../../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := refusedBySchema(t, compiled(t), string(text)); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(string(text), "# yaml-language-server: $schema=pushcart.schema.json\n") {
		t.Error("the example's first line does not name the schema")
	}
}

// form is what a schema can know of a value; what else the loader says is about its
// meaning.
var form = regexp.MustCompile(`^(unknown key|is empty|want (a duration|a size|a whole number|a number|true or false|one value|a list|keys and values|an address or a network)\b)|has no unit`)

// unseen are values that are others before a schema sees them.
var unseen = regexp.MustCompile(`\$\{|^(True|1e3)$`)

// nested is the file that sets one key only.
func nested(key, value string) string {
	names := strings.Split(key, ".")
	return strings.Join(names, ": {") + ": " + value + strings.Repeat("}", len(names)-1)
}

// values are right for some keys and wrong for others.
var values = []string{
	`no-such-word`, `""`, `5`, `-5`, `+5`, `0`, `1.5`, `.5`, `1e3`, `"5"`, `"-5"`, `"1.5"`, `"0"`, `5s`, `-5s`, `1h30m`, `5 seconds`, `7d`, `64KiB`, `64 KiB`, `1MB`,
	`"64"`, `true`, `"true"`, `yes`, `"on"`, `True`, `[]`, `[a]`, `[5]`, `[true]`, `[[a]]`, `[{a: b}]`, `[~]`, `{}`, `{a: b}`, `~`, `"${NAME}"`, `"a ${NAME:-b} c"`,
	`["${NAME}"]`, `10.0.0.1`, `[10.0.0.0/8]`, `["::1"]`, `[nginx]`, `info`, `INFO`, `json`, `deny`, `reject`, `[RS256]`, `[rs256]`, `[connect, message]`, `["*"]`, `[mesage]`,
}

// TestSchema_AgreesWithTheLoader tries every value at every key. What the loader takes
// the schema takes: an editor must not complain of a good file. What the loader
// refuses for its form the schema refuses too.
func TestSchema_AgreesWithTheLoader(t *testing.T) {
	s, words := compiled(t), config.Words()
	taken, refused := 0, 0
	try := func(key, value string) {
		text := nested(key, value)
		problems := refusedByLoader(t, text, key)
		badForm := false
		for _, p := range problems {
			badForm = badForm || form.MatchString(p) || words[key] != nil && strings.HasPrefix(p, "want ")
		}
		switch err := refusedBySchema(t, s, text); {
		case err != nil && len(problems) == 0:
			t.Errorf("the loader takes %s, the schema says\n%v", text, err)
		case err == nil && badForm && !unseen.MatchString(value):
			t.Errorf("the schema takes %s, the loader says %q", text, problems)
		case err == nil:
			taken++
		default:
			refused++
		}
	}
	for _, e := range config.Entries(config.Default()) {
		for _, value := range values {
			try(e.Key, value)
		}
		if section, _, below := strings.Cut(e.Key, "."); below {
			try(section+".no_such_key", "x")
			for _, value := range values {
				try(section, value)
			}
		}
	}
	try("no_such_key", "x")
	if taken < 1000 || refused < 1000 {
		t.Errorf("only %d taken and %d refused", taken, refused)
	}
}

// Every key has its type, a description, and the loader's default.
func TestSchema_DescribesEveryKey(t *testing.T) {
	s := compiled(t)
	for _, e := range config.Entries(config.Default()) {
		at := s
		for name := range strings.SplitSeq(e.Key, ".") {
			if at = at.Properties[name]; at == nil {
				t.Fatalf("%s is not in the schema", e.Key)
			}
		}
		if at.Description == "" {
			t.Errorf("%s has no description: give its field a comment", e.Key)
		}
		if at.Default == nil {
			t.Errorf("%s has no default", e.Key)
		} else if err := at.Validate(*at.Default); err != nil {
			t.Errorf("%s: its default: %v", e.Key, err)
		}
	}
}

// TestSchema_RefusesWhatNewcomersWrite are whole files with what is wrong in them.
func TestSchema_RefusesWhatNewcomersWrite(t *testing.T) {
	s := compiled(t)
	f := func(where, text string) {
		t.Helper()
		if len(refusedByLoader(t, text, "")) == 0 {
			t.Errorf("the loader takes %s", text)
		}
		err := refusedBySchema(t, s, text)
		if err == nil || !strings.Contains(err.Error(), where) {
			t.Errorf("%s\ngot %v, want something about %s", text, err, where)
		}
	}
	const good = "backend: {url: http://h}\n"
	f("ulr", "backend: {ulr: http://h}")
	f("/backend/url", "backend: {url: [http://h]}")
	f("backend", "backend:\nurl: http://h")
	f("pingInterval", good+"websocket: {pingInterval: 1s}")
	f("/websocket/paths", good+"websocket: {paths: /ws}")
	f("/websocket/ping_interval", good+"websocket: {ping_interval: 5}")
	f("/auth/anonymous", good+"auth: {anonymous: yes please}")
	f("/limits/connections", good+"limits: {connections: 10k}")
	f("/limits/per_user_policy", good+"limits: {per_user_policy: kick}")
	f("/push/max_body", good+"push: {max_body: 1MB}")
	f("/log/level", good+"log: {level: warning}")
	f("/trusted_proxies/0", good+"trusted_proxies: [nginx]")
	f("/webhook/events/1", good+"webhook: {url: /h, unsigned: true, events: [connect, mesage]}")
	f("/auth/jwt/algorithms/0", good+"auth: {jwt: {jwks_url: 'http://h/k', algorithms: [rs256]}}")
	f("/webhook/on_error/connect", good+"webhook: {on_error: {connect: permit}}")
	f("/listen", good+"listen:")
	f("jwt", good+"jwt: {}")
}
