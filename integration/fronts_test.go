package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// front is a proxy of docs/fronts.md: how its snippet becomes a configuration, and
// how the server is started with it.
type front struct {
	name    string // also of the program
	snippet string // the language of its block on the page
	config  func(snippet, dir, host, port string) string
	args    func(file, dir, host, port string) []string
}

var fronts = []front{
	{
		name: "nginx", snippet: "nginx",
		config: func(snippet, dir, host, port string) string {
			return fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
access_log off; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
%s}`, dir, strings.Replace(snippet, "listen 80;", "listen "+host+":"+port+";", 1))
		},
		args: func(file, dir, _, _ string) []string { return []string{"-p", dir, "-c", file, "-e", "stderr"} },
	},
	{
		name: "haproxy", snippet: "haproxy",
		config: func(snippet, _, host, port string) string {
			return strings.Replace(snippet, "bind :80", "bind "+host+":"+port, 1)
		},
		args: func(file, _, _, _ string) []string { return []string{"-db", "-f", file} },
	},
	{
		name: "apache2", snippet: "apache",
		config: func(snippet, dir, host, port string) string {
			modules := ""
			for _, m := range []string{"mpm_event", "authz_core", "headers", "proxy", "proxy_http"} {
				modules += "LoadModule " + m + "_module /usr/lib/apache2/modules/mod_" + m + ".so\n"
			}
			return modules + fmt.Sprintf("ServerName front\nPidFile %[1]s/pid\nDefaultRuntimeDir %[1]s\nErrorLog /dev/stderr\nUser nobody\nGroup nogroup\nListen %s:%s\n", dir, host, port) +
				strings.Replace(snippet, "*:80", host+":"+port, 1)
		},
		args: func(file, dir, _, _ string) []string { return []string{"-DFOREGROUND", "-d", dir, "-f", file} },
	},
	{
		name: "lighttpd", snippet: "lighttpd",
		config: func(snippet, dir, host, port string) string {
			return fmt.Sprintf("server.bind = %q\nserver.port = %s\nserver.document-root = %q\nserver.modules = ()\n%s", host, port, dir, snippet)
		},
		args: func(file, _, _, _ string) []string { return []string{"-D", "-f", file} },
	},
	{
		name: "varnishd", snippet: "varnish",
		config: func(snippet, _, _, _ string) string { return snippet },
		args: func(file, dir, host, port string) []string {
			return []string{"-F", "-j", "none", "-n", dir, "-f", file, "-a", host + ":" + port, "-s", "malloc,16m"}
		},
	},
	{
		name: "caddy", snippet: "caddy",
		config: func(snippet, dir, host, port string) string {
			return fmt.Sprintf("{\n admin off\n auto_https off\n storage file_system %s\n}\n", dir) + strings.Replace(snippet, ":80 {", ":"+port+" {\n bind "+host, 1)
		},
		args: func(file, _, _, _ string) []string {
			return []string{"run", "--adapter", "caddyfile", "--config", file}
		},
	},
}

// TestFronts runs each snippet of docs/fronts.md: the app sees who asked and as
// what, bodies pass, streams flow, and a browser's handshake comes in.
func TestFronts_TheDocumentedConfigurationWorks(t *testing.T) {
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	app := newFrontApp(t)
	s := sidecartest.Start(t, fmt.Sprintf("backend: {url: %q}\nauth: {anonymous: true}\ntrusted_proxies: [127.0.0.1, \"::1\"]\n", app.URL)+
		"webhook: {url: /hooks/push, events: [disconnected], unsigned: true}")
	for _, f := range fronts {
		t.Run(f.name, func(t *testing.T) {
			address := f.start(t, s.Public)
			app.checkRequest(t, address)
			checkUpload(t, address)
			checkStream(t, address)
			checkHandshake(t, s, address)
			f.checkClient(t, s, address)
			f.checkCloseCodes(t, s, app, address)
		})
	}
}

// start runs the front before target and returns its address.
func (f front) start(t *testing.T, target string) string {
	t.Helper()
	path, err := exec.LookPath(f.name)
	if err != nil {
		testkit.Missing(t, f.name)
	}
	dir := t.TempDir()
	address := testkit.FreeAddr(t)
	host, port, _ := net.SplitHostPort(address)
	targetHost, targetPort, _ := net.SplitHostPort(target)
	snippet := docBlock(t, "fronts.md", f.snippet)
	for old, new := range map[string]string{
		"127.0.0.1:8080": target, `"port" => 8080`: `"port" => ` + targetPort, `.port = "8080"`: `.port = "` + targetPort + `"`,
		`"host" => "127.0.0.1"`: `"host" => "` + targetHost + `"`,
	} {
		snippet = strings.ReplaceAll(snippet, old, new)
	}
	file := filepath.Join(dir, "front.conf")
	if err := os.WriteFile(file, []byte(f.config(snippet, dir, host, port)), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, f.args(file, dir, host, port)...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its workers too
	var out testkit.Log
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", f.name, out.String())
		}
	})
	testkit.Eventually(t, f.name+" listens", func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended:\n%s", f.name, out.String())
		default:
		}
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return address
}

// docBlocks returns the blocks of a language on a page of docs/.
func docBlocks(t *testing.T, page, language string) (blocks []string) {
	t.Helper()
	for i, rest := range strings.Split(readDoc(t, page), "\n```"+language+"\n") {
		if block, _, ended := strings.Cut(rest, "\n```"); i > 0 && ended {
			blocks = append(blocks, block+"\n")
		}
	}
	if len(blocks) == 0 {
		t.Fatalf("docs/%s has no %s block", page, language)
	}
	return blocks
}

// docBlock returns the first of them.
func docBlock(t *testing.T, page, language string) string {
	t.Helper()
	return docBlocks(t, page, language)[0]
}

func readDoc(t *testing.T, page string) string {
	t.Helper()
	b, err := os.ReadFile("../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// frontApp answers what the tests of fronts ask.
type frontApp struct {
	*httptest.Server
	mu       sync.Mutex  // guards all below
	seen     http.Header // of the last GET /seen, with its Host
	webhooks string      // the bodies of all
}

func newFrontApp(t *testing.T) *frontApp {
	a := &frontApp{}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /seen", func(_ http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.seen = r.Header.Clone()
		a.seen.Set("Host", r.Host)
	})
	routes.HandleFunc("POST /hooks/push", func(_ http.ResponseWriter, r *http.Request) {
		body := readAll(r.Body)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.webhooks += body + "\n"
	})
	routes.HandleFunc("POST /upload", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	})
	routes.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: first\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	a.Server = httptest.NewServer(routes)
	t.Cleanup(func() { a.CloseClientConnections(); a.Close() })
	return a
}

const publicName = "shop.example"

// ask makes a request for the public name on a connection that ends with it.
func ask(t *testing.T, address, method, path string, body io.Reader) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+address+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.Close = publicName, true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func (a *frontApp) checkRequest(t *testing.T, address string) {
	t.Helper()
	if resp := ask(t, address, "GET", "/seen", nil); resp.StatusCode != http.StatusOK {
		t.Fatalf("GET /seen: %s", resp.Status)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	// The front saw the client, and pushcart appended the front.
	if got := strings.ReplaceAll(a.seen.Get("X-Forwarded-For"), " ", ""); got != "127.0.0.1,127.0.0.1" {
		t.Errorf("X-Forwarded-For: got %q", got)
	}
	if got := a.seen.Get("X-Forwarded-Proto"); got != "http" {
		t.Errorf("X-Forwarded-Proto: got %q", got)
	}
	if got := a.seen.Get("Host"); got != publicName {
		t.Errorf("Host: got %q", got)
	}
}

func checkUpload(t *testing.T, address string) {
	t.Helper()
	const size = 5 << 20
	resp := ask(t, address, "POST", "/upload", io.LimitReader(zeros{}, size))
	if got := readAll(resp.Body); got != fmt.Sprint(size, nil) {
		t.Errorf("an upload of 5 MiB: %s %q", resp.Status, got)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// checkStream wants the first event while the answer goes on.
func checkStream(t *testing.T, address string) {
	t.Helper()
	resp := ask(t, address, "GET", "/stream", nil)
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(resp.Body).ReadString('\n')
		line <- text
	}()
	select {
	case got := <-line:
		if got != "data: first\n" {
			t.Errorf("the stream began with %q", got)
		}
	case <-time.After(15 * time.Second):
		t.Error("the stream did not flow")
	}
	_ = resp.Body.Close()
}

// checkHandshake comes as a browser does from a page of the public name.
func checkHandshake(t *testing.T, s *sidecartest.Sidecar, address string) {
	t.Helper()
	c, resp, err := dialer.Dial("ws://"+address+"/_push", http.Header{
		"Host": {publicName}, "Origin": {"http://" + publicName}, "Cookie": {"a=b"},
	})
	if err != nil {
		if resp != nil {
			t.Fatalf("handshake: %s %s", resp.Status, readAll(resp.Body))
		}
		t.Fatalf("handshake: %v", err)
	}
	defer c.Close()
	status, body := call(t, "POST", "http://"+s.Push+"/v1/push", "application/json", `{"to":{"all":true},"text":"through the front"}`)
	if status != http.StatusOK {
		t.Fatalf("push: %d %s", status, body)
	}
	if _, text := next(t, c); text != "through the front" {
		t.Errorf("got %q", text)
	}
}
