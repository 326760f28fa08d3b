package integration

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// runApp starts a program that is to listen on address, and waits until it does.
func runApp(t *testing.T, address string, command ...string) {
	t.Helper()
	path, err := exec.LookPath(command[0])
	if err != nil {
		testkit.Missing(t, command[0])
	}
	cmd := exec.Command(path, command[1:]...)
	var out testkit.Log
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", command[0], out.String())
		}
	})
	testkit.Eventually(t, command[0]+" listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// TestFrameworks_CountTheHopsAsTheDocsSay: the app behind a front and pushcart sees
// the client's address and https.
func TestFrameworks_CountTheHopsAsTheDocsSay(t *testing.T) {
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	for _, f := range []struct {
		name, setting string // as docs/fronts.md has it
		code          string // SETTING and PORT are filled in
		file          string
		command       []string
		wanted        string
	}{
		{
			name: "Express", setting: `app.set('trust proxy', 2)`, file: "app.cjs", command: []string{"node"},
			code: `const app = require(process.argv[3] + '/node_modules/express')()
SETTING
app.get('/', (req, res) => res.send(req.ip + ' ' + req.secure))
app.listen(PORT, '127.0.0.1')`,
			wanted: "203.0.113.9 true",
		},
		{
			name: "Flask", setting: `app.wsgi_app = ProxyFix(app.wsgi_app, x_for=2, x_proto=1, x_host=1)`, file: "app.py",
			command: []string{"/usr/bin/python3"},
			code: `from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix
app = Flask("app")
SETTING
@app.route("/")
def show(): return f"{request.remote_addr} {str(request.is_secure).lower()}"
app.run("127.0.0.1", PORT)`,
			wanted: "203.0.113.9 true",
		},
		{
			name: "Django", setting: `SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")`, file: "app.py",
			command: []string{"/usr/bin/python3"},
			code: `SETTING
from django.conf import settings
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECURE_PROXY_SSL_HEADER=SECURE_PROXY_SSL_HEADER)
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse(str(request.is_secure()).lower()))]
from wsgiref.simple_server import make_server
make_server("127.0.0.1", PORT, get_wsgi_application()).serve_forever()`,
			wanted: "true",
		},
	} {
		t.Run(f.name, func(t *testing.T) {
			page, err := os.ReadFile("../docs/fronts.md")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(page), "`"+f.setting+"`") {
				t.Fatalf("docs/fronts.md does not have %s", f.setting)
			}
			if f.name != "Express" && exec.Command("/usr/bin/python3", "-c", "import "+strings.ToLower(f.name)).Run() != nil {
				testkit.Missing(t, f.name)
			}
			address := testkit.FreeAddr(t)
			_, port, _ := net.SplitHostPort(address)
			file := filepath.Join(t.TempDir(), f.file)
			code := strings.NewReplacer("SETTING", f.setting, "PORT", port).Replace(f.code)
			if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
				t.Fatal(err)
			}
			node, err := filepath.Abs("node")
			if err != nil {
				t.Fatal(err)
			}
			runApp(t, address, append(f.command, file, "--", node)...)
			s := sidecartest.Start(t, fmt.Sprintf("\nbackend: {url: 'http://%s'}\ntrusted_proxies: [\"127.0.0.0/8\"]", address))
			req, err := http.NewRequest("GET", "http://"+s.Public+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = http.Header{"X-Forwarded-For": {"203.0.113.9"}, "X-Forwarded-Proto": {"https"}}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got := readAll(resp.Body); got != f.wanted {
				t.Errorf("got %q, want %q", got, f.wanted)
			}
		})
	}
}
