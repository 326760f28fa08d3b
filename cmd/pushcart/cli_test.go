package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
)

// run carries out one command line.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	p := process{args: args, stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
	code = p.main(context.Background())
	return code, out.String(), errs.String()
}

var commands = []string{
	"", "run", "check", "config", "config schema", "demo", "push", "token", "reload", "drain", "health", "version", "listen", "status", "users", "connections",
	"channels", "presence", "completion",
}

func TestHelpAndVersion_AreOnStdoutEverywhere(t *testing.T) {
	for _, name := range commands {
		for _, flag := range []string{"-h", "--help", "--version"} {
			args := strings.Fields(name + " " + flag)
			code, out, errs := run(t, args...)
			if code != 0 || errs != "" || flag != "--version" && !strings.Contains(out, "Usage:\n  pushcart "+name) || flag == "--version" && !strings.HasPrefix(out, "pushcart dev ") {
				t.Errorf("%q: exit %d, %q %q", args, code, out, errs)
			}
		}
	}
	_, out, _ := run(t, "push", "--help")
	for _, want := range []string{"DATA", "--user ID", "--address ADDRESS"} {
		if !strings.Contains(out, want) {
			t.Errorf("push --help has no %q:\n%s", want, out)
		}
	}
	if code, out, _ := run(t, "help"); code != 0 || !strings.Contains(out, "demo") {
		t.Errorf("help: exit %d %q", code, out)
	}
}

func TestUsageErrors_Exit2AndSayWhatWasMeant(t *testing.T) {
	t.Chdir(t.TempDir())
	f := func(want string, args ...string) {
		t.Helper()
		code, out, errs := run(t, args...)
		if code != 2 || out != "" || errs != "pushcart: "+want+"\n" {
			t.Errorf("%q: exit %d, %q\n%swant %s", args, code, out, errs, want)
		}
	}
	f(`unknown command "rnu"; did you mean run?`, "rnu")
	f(`unknown command "chekc"; did you mean check?`, "chekc", "--config", "x")
	f(`unknown command "tokne"; did you mean token?`, "tokne", "--user", "x")
	f(`unknown command "frobnicate"; see pushcart --help`, "frobnicate")
	f("unknown flag --bakend; did you mean --backend?", "--bakend", "x")
	f("unknown flag --usr; did you mean --user?", "push", "hello", "--usr", "x")
	f("unknown flag --frobnicate; see pushcart run --help", "run", "--frobnicate")
	f("unknown flag -config; did you mean --config?", "check", "-config", "x")
	f("unknown flag -config; did you mean --config?", "-config=x")
	f("unknown flag -help; did you mean --help?", "run", "-help")
	f("unknown flag -v; see pushcart push --help", "push", "-v")
	f(`--wait: want a duration like 10s or 500ms, got "5"`, "push", "--wait", "5", "--all", "x")
	f(`--anonymous: want true or false, got "maybe"`, "--anonymous=maybe")
	f("flag needs an argument: --config; see pushcart check --help", "check", "--config")
	f(`unexpected argument "x"; see pushcart demo --help`, "demo", "x")
	f("there is no pushcart.yaml here; name the file with --config, or the app with --backend URL", "run")
	f("there is no pushcart.yaml here; name the file with --config, or the app with --backend URL")
	f("there is no pushcart.yaml here; name the file: pushcart check FILE", "check")
	f("check takes one file, got 2; see pushcart check --help", "check", "a", "b")
	f("push needs a target: --user, --channel, --connection or --all", "push", "hello")
	f("push wants the data: pushcart push --user U DATA", "push", "--all")
	f("push wants one argument, the data, got 2; put it in quotes", "push", "--all", "hello", "world")
	f("want the push API's address, like http://127.0.0.1:8081, 127.0.0.1:8081 or unix:/path", "push", "--all", "--address", "ftp://x", "--token", "t", "hello")
	f("token needs --user; see pushcart token --help", "token")
	f("--ttl must be more than 0, got -1s", "token", "--user", "x", "--ttl", "-1s")
	f(`unknown command "lsten"; did you mean listen?`, "help", "lsten")
	f(`unknown command "config schem"; did you mean config schema?`, "config", "schem")
	f(`unknown command "config check"; see pushcart config --help`, "config", "check")
	f("there is no pushcart.yaml here; name the file with --config, or the app with --backend URL", "config")
	f("completion wants a shell: pushcart completion bash (or zsh, fish, powershell)", "completion")
	f(`unknown shell "bsh"; did you mean bash?`, "completion", "bsh")
	f("users wants an id: pushcart users 42; pushcart status says how many there are", "users")
	f("users takes one id, got 2; see pushcart users --help", "users", "a", "b")
	f("users wants an id that is not empty: pushcart users 42", "users", "")
	f("connections wants an id: pushcart connections ID; pushcart users U lists those of a user", "connections")
	f("--limit must not be negative, got -1", "channels", "--limit", "-1")
	f("--limit must not be negative, got -1", "presence", "chat", "--limit", "-1")
	f("presence wants an id: pushcart presence chat.1; pushcart channels lists the channels", "presence")
	f("--limit: want a whole number, got \"many\"", "channels", "--limit", "many")
	f("want the push API's address, like http://127.0.0.1:8081, 127.0.0.1:8081 or unix:/path", "status", "--address", "ftp://x")
	f("outbox wants a command: pushcart outbox list (or show, replay, drop)", "outbox")
	f(`unknown command "outbox lst"; did you mean outbox list?`, "outbox", "lst")
	f(`unknown command "outbox x"; see pushcart outbox --help`, "outbox", "x")
	f(`--state: want waiting or dead, got "died"`, "outbox", "list", "--state", "died")
	f("--limit must not be negative, got -1", "outbox", "list", "--limit", "-1")
	f("show wants an id: pushcart outbox show ID; pushcart outbox list (--state dead) lists them", "outbox", "show")
	f("show takes one id, got 2; see pushcart outbox show --help", "outbox", "show", "a", "b")
	f("replay wants an id, or --all: pushcart outbox replay ID; pushcart outbox list --state dead lists them", "outbox", "replay")
	f("replay takes ids or --all, not both", "outbox", "replay", "--all", "a")
	f("--state goes with --all: pushcart outbox replay --all --state waiting", "outbox", "replay", "a", "--state", "waiting")
	f(`--state: want waiting or dead, got "died"`, "outbox", "replay", "--all", "--state", "died")
	f("drop wants an id: pushcart outbox drop ID; pushcart outbox list --state dead lists them", "outbox", "drop")
	f("drop wants ids that are not empty: pushcart outbox drop ID", "outbox", "drop", "a", "")
	f("listen takes one URL, got 2; see pushcart listen --help", "listen", "a", "b")
	f("want a ws:// or wss:// URL, got ftp://", "listen", "ftp://h/")
	f(`want a URL like ws://127.0.0.1:8080/_push, got "ws://"`, "listen", "ws://")
	f("a URL of a WebSocket has no user; give --header 'Authorization: …'", "listen", "ws://u:p@h/")
	f("--token and --user: give one of the two", "listen", "--token", "t", "--user", "u")
	f("--channel goes with --user; a token has its own, and --protocol json --subscribe asks for a channel", "listen", "--channel", "c")
	f(`unknown protocol "row"; did you mean raw?`, "listen", "--protocol", "row")
	f(`--header: want 'Name: value', got "Cookie"`, "listen", "--header", "Cookie")
	f("--header: Upgrade is the handshake's own", "listen", "--header", "upgrade: x")
	f("--for must not be negative, got -1s", "listen", "--for", "-1s")
	f("--count must not be negative, got -1", "listen", "--count", "-1")
}

// The image has no shell: its commands are lists, and this binary knows them.
func TestDockerfile_ItsCommandsNeedNoShell(t *testing.T) {
	file, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(file)) {
		before, command, ok := strings.Cut(line, "CMD ")
		if !ok {
			continue
		}
		found++
		var args []string
		if err := json.Unmarshal([]byte(command), &args); err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if strings.HasPrefix(before, "HEALTHCHECK ") {
			if args[0] != "/pushcart" {
				t.Errorf("%s: is not the binary", line)
			}
			args = args[1:]
		}
		if code, _, errs := run(t, append(args, "--help")...); code != 0 {
			t.Errorf("%q: exit %d %s", args, code, errs)
		}
	}
	if found != 2 {
		t.Errorf("found %d commands, want HEALTHCHECK and CMD", found)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const testSecret = "0123456789abcdef0123456789abcdef"

func TestCommands_FindPushcartYaml(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "config.yaml", "backend: {url: http://h}\n")
	if code, out, errs := run(t, "check"); code != 0 || out != "config.yaml is good\n" {
		t.Errorf("config.yaml: exit %d %q %q", code, out, errs)
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.Header.Get("Authorization")))
	}))
	defer api.Close()
	addr := strings.TrimPrefix(api.URL, "http://")
	// What a tool does not need does not stop it.
	write(t, "pushcart.yaml", "tls: {cert_file: /none, key_file: /none}\nauth: {jwt: {secret: "+testSecret+"}}\n"+
		"push: {listen: '"+addr+"', tokens: [t0ken]}\nadmin: {listen: '"+addr+"'}\nredis: {password: '${MISSING_HERE}'}\n")
	want := "pushcart.yaml:1: tls.cert_file: /none: no such file or directory\npushcart.yaml:1: tls.key_file: /none: no such file or directory\n" +
		"pushcart.yaml:5: redis.password: environment variable MISSING_HERE is not set; set it, or give a default: ${MISSING_HERE:-…}\n" +
		"pushcart.yaml: backend.url: is required: the app's address, like http://127.0.0.1:3000\n"
	for _, args := range [][]string{{"check"}, {"run"}, {}} {
		if code, out, errs := run(t, args...); code != 2 || out != "" || errs != want {
			t.Errorf("%q: exit %d %q\n%swant\n%s", args, code, out, errs, want)
		}
	}
	if code, out, errs := run(t, "push", "hello", "--all"); code != 0 || out != "Bearer t0ken\n" {
		t.Errorf("push: exit %d %q %q", code, out, errs)
	}
	if code, out, errs := run(t, "push", "--all", "hello", "--address", api.URL, "--token", "other"); code != 0 || out != "Bearer other\n" {
		t.Errorf("push --address http://: exit %d %q %q", code, out, errs)
	}
	if code, out, errs := run(t, "token", "--user", "ann"); code != 0 || strings.Count(out, ".") != 2 {
		t.Errorf("token: exit %d %q %q", code, out, errs)
	}
	if code, out, errs := run(t, "health"); code != 0 || out != "ready\n" {
		t.Errorf("health: exit %d %q %q", code, out, errs)
	}
	if code, _, errs := run(t, "run", "--backend", "app", "--config", filepath.Join(t.TempDir(), "none.yaml")); code != 2 || !strings.HasSuffix(errs, "none.yaml: no such file or directory\n") {
		t.Errorf("a file that is not there: exit %d %q", code, errs)
	}
}

// A config.yaml beside an app is the app's: it used to be of no interest, and must
// not keep the first try from working.
func TestRun_WithBackendLeavesConfigYamlAlone(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "config.yaml", "database: {host: db}\n")
	code, _, errs := run(t, "--backend", "app")
	if want := "--backend: backend.url: want http://, https:// or unix:, got \"app\"\n"; code != 2 || errs != want {
		t.Errorf("exit %d %q, want %q", code, errs, want)
	}
}

func TestHealth_FollowsTheNode(t *testing.T) {
	r := startNode(t, nil)
	addr := r.adminListener.Addr().String()
	if code, out, errs := run(t, "health", "--address", addr); code != 0 || out != "ready\n" {
		t.Errorf("a running node: exit %d %q %q", code, out, errs)
	}
	_, port, _ := net.SplitHostPort(addr)
	file := filepath.Join(t.TempDir(), "c.yaml")
	for _, host := range []string{"", "0.0.0.0", "[::]", "localhost"} { // where it listens, not where one asks
		write(t, file, "admin: {listen: '"+host+":"+port+"'}\n")
		if code, _, errs := run(t, "health", "--config", file); code != 0 {
			t.Errorf("%q: exit %d %q", host, code, errs)
		}
	}
	r.admin.SetReady(false)
	if code, out, errs := run(t, "health", "--address", addr); code != 1 || out != "" || !strings.HasPrefix(errs, "pushcart: not ready: 503") {
		t.Errorf("draining: exit %d %q %q", code, out, errs)
	}
	r.signals <- syscall.SIGTERM
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := run(t, "health", "--address", addr); code != 1 || !strings.Contains(errs, "refused") {
		t.Errorf("gone: exit %d %q", code, errs)
	}
}

func TestListenPush_GivesTheSocketItsModeAndGroup(t *testing.T) {
	cfg := config.Default().Push
	cfg.Listen = "unix:" + filepath.Join(t.TempDir(), "s")
	path := strings.TrimPrefix(cfg.Listen, "unix:")
	for _, mode := range []string{"0660", "0600", "0666"} {
		cfg.SocketMode = mode
		cfg.SocketGroup = "" // only root may give away a file
		if os.Getuid() == 0 {
			cfg.SocketGroup = "4321"
		}
		ln, err := listenPush(cfg)
		if err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%04o", st.Mode().Perm()); got != mode {
			t.Errorf("got mode %s, want %s", got, mode)
		}
		if gid := st.Sys().(*syscall.Stat_t).Gid; cfg.SocketGroup != "" && gid != 4321 {
			t.Errorf("got group %d, want 4321", gid)
		}
		_ = ln.Close()
	}
}

func TestSignToken_HasTheConfiguredClaims(t *testing.T) {
	cfg := config.Default().Auth.JWT
	cfg.Secret, cfg.Issuer, cfg.Audience, cfg.UserClaim = "0123456789abcdef0123456789abcdef", "me", "app", "uid"
	token, err := signToken(cfg, "ann", []string{"news"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	if claims["uid"] != "ann" || claims["iss"] != "me" || claims["aud"] != "app" ||
		claims["exp"].(float64)-claims["iat"].(float64) != 60 || len(claims["channels"].([]any)) != 1 {
		t.Errorf("got %s", payload)
	}
}

func TestSignToken_UsesTheConfiguredAlgorithm(t *testing.T) {
	f := func(want string, algorithms ...string) {
		t.Helper()
		cfg := config.Default().Auth.JWT
		cfg.Secret, cfg.Algorithms = testSecret, algorithms
		token, err := signToken(cfg, "ann", nil, time.Minute)
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "auth.jwt.algorithms") {
				t.Errorf("%v: got %v", algorithms, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(token, ".")
		head, _ := base64.RawURLEncoding.DecodeString(parts[0])
		mac := hmac.New(hashes[want], []byte(testSecret))
		mac.Write([]byte(parts[0] + "." + parts[1]))
		if !strings.Contains(string(head), `"alg":"`+want+`"`) || parts[2] != base64.RawURLEncoding.EncodeToString(mac.Sum(nil)) {
			t.Errorf("%v: got head %s", algorithms, head)
		}
	}
	f("HS256")
	f("HS384", "HS384")
	f("HS512", "RS256", "HS512", "HS256")
	f("", "RS256")
}
