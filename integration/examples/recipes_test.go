package examples

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/sidecartest"
)

const recipes = "docs/recipes.md"

// recipe runs one of docs/recipes.md with its arguments as JSON, and returns what it
// returns, as JSON, or how it fails.
type recipe func(t *testing.T, name string, args ...any) (value, failure string)

// languageOf runs recipes in a language. before and after stand around its blocks.
func languageOf(language, file, before, after string, command ...string) func(t *testing.T, at addresses) recipe {
	return func(t *testing.T, at addresses) recipe {
		t.Helper()
		code := before + block(t, recipes, language, 0) + block(t, recipes, language, 1) + after
		path := filepath.Join(t.TempDir(), file)
		if err := os.WriteFile(path, []byte(at.rewrite(code)), 0o600); err != nil {
			t.Fatal(err)
		}
		return func(t *testing.T, name string, args ...any) (string, string) {
			t.Helper()
			list, err := json.Marshal(args)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(command[0], append(command[1:], path, name, string(list))...)
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Run(); cmd.ProcessState == nil {
				t.Fatalf("%v; make tools installs it", err)
			} else if err != nil {
				return "", out.String() + errs.String()
			}
			return out.String(), ""
		}
	}
}

var recipesIn = map[string]func(t *testing.T, at addresses) recipe{
	"Node": languageOf("js", "recipe.mjs", "", `
const [name, list] = process.argv.slice(2)
console.log(JSON.stringify(await { push, token }[name](...JSON.parse(list))))`, "node"),
	"Python": languageOf("python", "recipe.py", "", `
import sys
args = json.loads(sys.argv[2])
more = args.pop() if sys.argv[1] == "push" and len(args) == 3 else {}
print(json.dumps(globals()[sys.argv[1]](*args, **more)))`, "python3"),
	"PHP": languageOf("php", "recipe.php", "<?php\n", `
echo json_encode($argv[1](...json_decode($argv[2], true)));`, "php"),
}

// TestRecipes runs them against the binary: a token lets in as it says, and pushes
// reach who they are for.
func TestRecipes_PushAndSignTokens(t *testing.T) {
	t.Setenv("JWT_SECRET", "0123456789abcdef0123456789abcdef")
	at := free(t)
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/pushcart.yaml", []byte(block(t, recipes, "yaml", 0)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := pushcart(t, dir, at)
	for language, in := range recipesIn {
		t.Run(language, func(t *testing.T) {
			run := in(t, at)
			checkTokens(t, s, run)
			checkPushes(t, s, run)
		})
	}
	s.Stop(t)
	for language, in := range recipesIn {
		if _, failure := in(t, at)(t, "push", map[string]any{"all": true}, 1); failure == "" {
			t.Errorf("%s: a push without pushcart does not fail", language)
		}
	}
}

func withToken(s *sidecartest.Sidecar, token string) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{HandshakeTimeout: 20 * time.Second}
	return d.Dial("ws://"+s.Public+"/_push?access_token="+token, nil)
}

func signed(t *testing.T, run recipe, args ...any) (token string) {
	t.Helper()
	value, failure := run(t, "token", args...)
	if err := json.Unmarshal([]byte(value), &token); err != nil {
		t.Fatalf("token%v: %v %s%s", args, err, value, failure)
	}
	return token
}

func checkTokens(t *testing.T, s *sidecartest.Sidecar, run recipe) {
	t.Helper()
	f := func(status int, token string) {
		t.Helper()
		c, resp, err := withToken(s, token)
		if err == nil {
			_ = c.Close()
		}
		if resp == nil || resp.StatusCode != status {
			t.Errorf("%s: got %v, want %d", token, err, status)
		}
	}
	f(101, signed(t, run, "42"))
	f(401, signed(t, run, "42", []string{}, -60)) // beyond auth.jwt.leeway
	t.Setenv("JWT_SECRET", "another secret that is long enough")
	f(401, signed(t, run, "42"))
	t.Setenv("JWT_SECRET", "0123456789abcdef0123456789abcdef")
}

func checkPushes(t *testing.T, s *sidecartest.Sidecar, run recipe) {
	t.Helper()
	const user = `zoë/"1"`
	c, _, err := withToken(s, signed(t, run, user, []string{"news"}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f := func(answer, frame string, args ...any) {
		t.Helper()
		value, failure := run(t, "push", args...)
		if value = strings.ReplaceAll(value, " ", ""); !strings.Contains(value, answer) {
			t.Errorf("push%v: got %s%s, want %s", args, value, failure, answer)
		}
		if frame == "" {
			return
		}
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		var got, want any
		_, b, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		_ = json.Unmarshal([]byte(frame), &want)
		if err := json.Unmarshal(b, &got); err != nil || !equal(got, want) {
			t.Errorf("push%v: got the frame %s, want %s", args, b, frame)
		}
	}
	order := map[string]any{"order": 7, "text": "κόσμε"}
	f(`"nodes":1`, `{"order":7,"text":"κόσμε"}`, map[string]any{"users": []string{user}}, order)
	f(`"delivered":1`, `"text"`, map[string]any{"channels": []string{"news"}}, "text", map[string]any{"wait": "20s"})
	id := map[string]any{"id": t.Name()}
	f(`"duplicate":false`, `1`, map[string]any{"all": true}, 1, id)
	f(`"duplicate":true`, ``, map[string]any{"all": true}, 1, id)
	f(`"nodes":0`, ``, map[string]any{"users": []any{"nobody"}}, order)
	for wrong, why := range map[string]any{"to.users[0]: must not be empty": map[string]any{"users": []any{""}}, "to.user": map[string]any{"user": "42"}} {
		if value, failure := run(t, "push", why, 1); !strings.Contains(failure, "push: ") || !strings.Contains(failure, wrong) {
			t.Errorf("push to %v: got %s, fails with %s, want %s", why, value, failure, wrong)
		}
	}
}

func equal(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}
