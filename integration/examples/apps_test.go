package examples

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/sidecartest"
)

// languages are the folders of examples/, with the files in which each differs from
// the app as it was.
var languages = []struct{ name, app, verify, language string }{
	{"express", "app.mjs", "verify.mjs", "js"},
	{"flask", "app.py", "verify.py", "python"},
	{"php", "index.php", "verify.php", "php"},
	{"sinatra", "app.rb", "verify.rb", "ruby"},
}

// ticketApp is an example that runs.
type ticketApp struct {
	*process
	address string
	front   string               // what its users see instead of pushcart
	sidecar *sidecartest.Sidecar // nil: the app as it was
}

// url is where its users go.
func (a *ticketApp) url() string {
	switch {
	case a.front != "":
		return "http://" + a.front
	case a.sidecar == nil:
		return "http://" + a.address
	}
	return "http://" + a.sidecar.Public
}

// copyTree copies examples/, or examples/legacy, with other ports. npm's packages stay
// where they are.
func copyTree(t *testing.T, from string, at addresses) string {
	t.Helper()
	to := t.TempDir()
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		rel, _ := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case d.Name() == "node_modules" || d.IsDir() && rel == "legacy":
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), []byte(at.rewrite(string(b))), 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	modules, err := filepath.Abs(root + "examples/express/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(to, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return to
}

// command is how the README of an example starts the app, beside pushcart.
func command(t *testing.T, name string) string {
	t.Helper()
	app, sidecar, _ := strings.Cut(block(t, "examples/"+name+"/README.md", "sh", 1), "\n")
	if sidecar != "../../bin/pushcart run\n" {
		t.Fatalf("%s is started by %q and %q", name, app, sidecar)
	}
	return app
}

// startApp starts an example by the command of its README, and does not wait for it.
func startApp(t *testing.T, name, tree string, at addresses, env ...string) *ticketApp {
	t.Helper()
	a := &ticketApp{address: at.app}
	a.process = run(t, filepath.Join(tree, name), append(env, "TMPDIR="+t.TempDir()), "sh", "-c", "exec "+at.rewrite(command(t, name)))
	return a
}

// withPushcart waits for the app and puts a sidecar before it.
func (a *ticketApp) withPushcart(t *testing.T, dir string, at addresses) {
	t.Helper()
	a.listens(t, a.address)
	a.sidecar = pushcart(t, dir, at)
}

// user is somebody with a browser.
type user struct {
	http.Client
	app *ticketApp
}

func newUser(t *testing.T, a *ticketApp) *user {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &user{http.Client{Jar: jar, Timeout: 20 * time.Second}, a}
}

func (u *user) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	resp, err := u.Get(u.app.url() + path)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, text(t, resp)
}

// submit sends a form, follows where it leads, and returns the page.
func (u *user) submit(t *testing.T, path string, fields ...string) (status int, page string) {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	resp, err := u.PostForm(u.app.url()+path, form)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, text(t, resp)
}

func text(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (u *user) login(t *testing.T, name, password string) *user {
	t.Helper()
	if status, page := u.submit(t, "/login", "name", name, "password", password); status != 200 || !strings.Contains(page, "<h1>Tickets</h1>") {
		t.Fatalf("%s logs in: got %d %s", name, status, page)
	}
	return u
}

type ticket struct{ Title, By string }

func (u *user) tickets(t *testing.T) (all []ticket) {
	t.Helper()
	status, body := u.get(t, "/tickets")
	if err := json.Unmarshal([]byte(body), &all); err != nil || status != 200 {
		t.Fatalf("the list: %d %s", status, body)
	}
	return all
}

// connect opens a WebSocket as the user's browser does.
func (u *user) connect() (*websocket.Conn, *http.Response, error) {
	at, err := url.Parse(u.app.url())
	if err != nil {
		return nil, nil, err
	}
	d := websocket.Dialer{HandshakeTimeout: 20 * time.Second, Jar: u.Jar}
	return d.Dial("ws://"+at.Host+"/_push", http.Header{"Origin": {u.app.url()}})
}

func (u *user) connected(t *testing.T) *websocket.Conn {
	t.Helper()
	c, _, err := u.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// next is the ticket that comes next.
func next(t *testing.T, c *websocket.Conn) (got ticket) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, b, err := c.ReadMessage()
	if err == nil {
		err = json.Unmarshal(b, &got)
	}
	if err != nil {
		t.Fatalf("%v in %q", err, b)
	}
	return got
}

const title = `the "κόσμε" <b>lamp</b> & co`

// checkForms is what the app does with and without pushcart.
func (a *ticketApp) checkForms(t *testing.T) (ann, ben *user) {
	t.Helper()
	ann, ben = newUser(t, a), newUser(t, a)
	if status, page := ann.get(t, "/"); status != 200 || !strings.Contains(page, "<h1>Log in</h1>") {
		t.Errorf("a stranger: %d %s", status, page)
	}
	for _, fields := range [][]string{{"name", "ann", "password", "banana"}, {"name", "ann", "password", ""}, {"name", "eve", "password", ""}, {"name", "ann"}} {
		if status, page := ann.submit(t, "/login", fields...); status != 200 || !strings.Contains(page, "<h1>Log in</h1>") {
			t.Errorf("logging in with %q: %d %s", fields, status, page)
		}
	}
	if status, _ := ann.get(t, "/tickets"); status != 401 {
		t.Errorf("the list for a stranger: %d", status)
	}
	if status, _ := ann.submit(t, "/tickets", "title", "x"); status != 401 {
		t.Errorf("the form of a stranger: %d", status)
	}
	ann.login(t, "ann", "apple")
	ben.login(t, "ben", "banana")
	before := len(ann.tickets(t))
	if status, page := ben.submit(t, "/tickets", "title", title); status != 200 || !strings.Contains(page, "<h1>Tickets</h1>") {
		t.Errorf("the form: %d %s", status, page)
	}
	if all := ann.tickets(t); len(all) != before+1 || all[before] != (ticket{title, "ben"}) {
		t.Errorf("the list is %+v", all)
	}
	return ann, ben
}

// checkPush is what pushcart adds.
func (a *ticketApp) checkPush(t *testing.T, ann, ben *user) {
	t.Helper()
	if _, resp, err := newUser(t, a).connect(); err == nil || resp == nil || resp.StatusCode != 401 {
		t.Errorf("a stranger's handshake: %v, %v", resp, err)
	}
	annsConn, bensConn := ann.connected(t), ben.connected(t)
	for _, name := range []string{"ann", "ben"} {
		resp, err := http.Get("http://" + a.sidecar.Push + "/v1/users/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if body := text(t, resp); !strings.Contains(body, `"online":true`) {
			t.Errorf("%s is connected, but not by name: %s", name, body)
		}
	}
	ben.submit(t, "/tickets", "title", title)
	ann.submit(t, "/tickets", "title", "another")
	for _, c := range []*websocket.Conn{annsConn, bensConn} {
		for _, want := range []ticket{{title, "ben"}, {"another", "ann"}} {
			if got := next(t, c); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
	}
	if status := ann.forges(t, a.address); status != 401 {
		t.Errorf("a forged event to the app: got %d, want 401", status)
	}
	if status := ann.forges(t, a.sidecar.Public); status != 404 {
		t.Errorf("a forged event through pushcart: got %d, want 404", status)
	}
	if got := complaints(a.sidecar, "it knows nobody by this handshake", "no such path"); len(got) > 0 {
		t.Errorf("pushcart complains: %q", got)
	}
}

// forges sends an event that pushcart did not sign.
func (u *user) forges(t *testing.T, address string) (status int) {
	t.Helper()
	req, err := http.NewRequest("POST", "http://"+address+"/hooks/push", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Ce-Type": {"pushcart.connect"}, "Webhook-Id": {"1"}, "Webhook-Timestamp": {"1"}, "Webhook-Signature": {"v1,AAAA"}}
	resp, err := u.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = text(t, resp)
	return resp.StatusCode
}

// TestExamples_AnUpdateReachesAnotherUser runs each app as it was and as it is now, with the commands of its
// README: forms by HTTP, the live update at another user's connection, and the page in
// a browser.
func TestExamples_AnUpdateReachesAnotherUser(t *testing.T) {
	now, were := map[string]*ticketApp{}, map[string]*ticketApp{}
	starts := map[string]func(){}
	for _, l := range languages {
		at := free(t)
		tree := copyTree(t, root+"examples", at)
		now[l.name] = startApp(t, l.name, tree, at)
		starts[l.name] = func() { now[l.name].withPushcart(t, filepath.Join(tree, l.name), at) }
		then := free(t)
		were[l.name] = startApp(t, l.name, copyTree(t, root+"examples/legacy", then), then)
	}
	for _, l := range languages {
		starts[l.name]()
		were[l.name].listens(t, were[l.name].address)
	}
	inBrowser(t, now, were)
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			were[l.name].checkForms(t)
			ann, ben := now[l.name].checkForms(t)
			now[l.name].checkPush(t, ann, ben)
		})
	}
}

// inBrowser drives the page of all apps with a real browser.
func inBrowser(t *testing.T, now, were map[string]*ticketApp) {
	t.Helper()
	type visit struct {
		Name  string `json:"name"`
		URL   string `json:"url"`
		Push  string `json:"push,omitempty"`
		Error string `json:"error,omitempty"`
	}
	var visits []visit
	for _, l := range languages {
		visits = append(visits, visit{Name: l.name, URL: now[l.name].url(), Push: now[l.name].sidecar.Push})
	}
	visits = append(visits, visit{Name: "legacy/php", URL: were["php"].url()}) // the page is the same for all
	in, err := json.Marshal(visits)
	if err != nil {
		t.Fatal(err)
	}
	out := node(t, "tickets.mjs", chromium(t), string(in))
	results := 0
	for d := json.NewDecoder(strings.NewReader(out)); ; results++ {
		var v visit
		if err := d.Decode(&v); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		if v.Error != "" {
			t.Errorf("%s in a browser: %s", v.Name, v.Error)
		}
	}
	if results != len(visits) {
		t.Errorf("%d results of %d visits: %s", results, len(visits), out)
	}
}

// node runs a script of integration/node to its end.
func node(t *testing.T, script string, args ...string) string {
	t.Helper()
	if _, err := os.Stat(root + "integration/node/node_modules"); err != nil {
		t.Fatal("run make tools first: it installs the npm packages of integration/node")
	}
	cmd := exec.Command("node", append([]string{script}, args...)...)
	cmd.Dir, cmd.Stderr = root+"integration/node", os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// chromium is the path of the browser.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("run make tools first: it installs chromium")
	return ""
}
