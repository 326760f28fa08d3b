package examples

import (
	"fmt"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/testkit"
)

// TestPHP_NothingWaitsForItself: PHP has few workers, php -S only one, and locks the
// session while it answers. Forms that push and handshakes that ask, all of one session
// and at once, are all answered.
func TestPHP_NothingWaitsForItself(t *testing.T) {
	for _, way := range []struct {
		name  string
		start func(t *testing.T) *ticketApp
	}{
		{"one worker", func(t *testing.T) *ticketApp { return startPHP(t) }},
		{"four workers", func(t *testing.T) *ticketApp { return startPHP(t, "PHP_CLI_SERVER_WORKERS=4") }},
		{"nginx and FPM", startFPM},
	} {
		t.Run(way.name, func(t *testing.T) {
			a := way.start(t)
			ann, ben := a.checkForms(t)
			a.checkPush(t, ann, ben)
			a.checkTogether(t, ann)
		})
	}
}

func startPHP(t *testing.T, env ...string) *ticketApp {
	t.Helper()
	at := free(t)
	tree := copyTree(t, root+"examples", at)
	a := startApp(t, "php", tree, at, env...)
	a.withPushcart(t, tree+"/php", at)
	return a
}

// checkTogether opens sockets and submits forms of one session at once.
func (a *ticketApp) checkTogether(t *testing.T, u *user) {
	t.Helper()
	const n = 8
	first := u.connected(t)
	conns, errs := make([]*websocket.Conn, n), make([]error, 2*n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { conns[i], _, errs[i] = u.connect() })
		wg.Go(func() {
			resp, err := u.PostForm(a.url()+"/tickets", map[string][]string{"title": {fmt.Sprint("together ", i)}})
			if errs[n+i] = err; err == nil {
				_ = resp.Body.Close()
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("%d of %d handshakes and as many forms: %v", i, n, err)
		}
	}
	got := map[ticket]bool{}
	for range n {
		got[next(t, first)] = true
	}
	if len(got) != n {
		t.Errorf("%d forms pushed %v", n, got)
	}
	u.submit(t, "/tickets", "title", "last")
	for _, c := range conns {
		for next(t, c).Title != "last" { // some of the others come first
		}
		_ = c.Close()
	}
}

// startFPM runs nginx and PHP-FPM with what the README says of them.
func startFPM(t *testing.T) *ticketApp {
	t.Helper()
	nginx, fpm := program(t, "nginx", "nginx"), program(t, "php-fpm", "php-fpm[0-9]*")
	const readme = "examples/php/README.md"
	at := free(t)
	front := at.app
	tree := copyTree(t, root+"examples", at)
	dir := t.TempDir()
	socket := dir + "/fpm.sock"
	replaced := strings.NewReplacer("listen 80;", "listen "+front+";", "127.0.0.1:8080", at.public, "127.0.0.1:80", front,
		"/srv/examples/php", tree+"/php", "/run/php/php-fpm.sock", socket)

	me, err := osuser.Current()
	if err != nil {
		t.Fatal(err)
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(dir+"/fpm.conf", fmt.Sprintf(`[global]
daemonize = no
error_log = /dev/stderr
[tickets]
user = %s
listen = %s
pm = static
pm.max_children = 2
env[TMPDIR] = %s
php_admin_value[session.save_path] = %[3]s
`, me.Username, socket, dir))
	write(dir+"/nginx.conf", fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
access_log off; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
%[2]s}`, dir, replaced.Replace(block(t, readme, "nginx", 0))))
	params, err := os.ReadFile("/etc/nginx/fastcgi_params")
	if err != nil {
		t.Fatal(err)
	}
	write(dir+"/fastcgi_params", string(params))
	write(tree+"/php/pushcart.yaml", replaced.Replace(block(t, readme, "yaml", 1)))

	run(t, dir, nil, fpm, "--allow-to-run-as-root", "--fpm-config", dir+"/fpm.conf").listens(t, socket)
	a := &ticketApp{address: front, front: front}
	a.process = run(t, dir, nil, nginx, "-p", dir, "-c", dir+"/nginx.conf", "-e", "stderr")
	a.withPushcart(t, tree+"/php", at)
	return a
}

// program finds one that not every machine has. CI installs all of them and sets
// PUSHCART_TEST_ALL.
func program(t *testing.T, name, pattern string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
			if path, err := exec.LookPath(found[len(found)-1]); err == nil {
				return path
			}
		}
	}
	testkit.Missing(t, name)
	return ""
}
