package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"gopkg.in/yaml.v3"

	"github.com/pushcart/pushcart/internal/testkit"
)

const compose = "../../deploy/compose.yaml"

// service is one of deploy/compose.yaml.
type service struct {
	Image       string
	Build       map[string]string
	Command     []string
	Environment map[string]string
	Volumes     []string
	Networks    networks
	Ports       []string
	Healthcheck struct{ Test []string }
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	MemLimit    string   `yaml:"mem_limit"`
	Ulimits     struct{ Nofile uint64 }
}

// networks are written as a list, or by name.
type networks map[string]struct {
	Address string `yaml:"ipv4_address"`
	Aliases []string
}

func (n *networks) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.SequenceNode {
		*n = networks{}
		for _, of := range node.Content {
			(*n)[of.Value] = networks(nil)[""]
		}
		return nil
	}
	return node.Decode((*map[string]struct {
		Address string `yaml:"ipv4_address"`
		Aliases []string
	})(n))
}

var composeSecrets = map[string]string{
	"WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "PUSH_TOKEN": "t0ken-of-the-test",
}

// readCompose returns the file as Compose has it, with its variables set.
func readCompose(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(compose)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`\$\{(\w+):\?[^}]*\}`).ReplaceAllFunc(b, func(m []byte) []byte {
		name, _, _ := strings.Cut(string(m[2:]), ":")
		if composeSecrets[name] == "" {
			t.Errorf("there is no %s", name)
		}
		return []byte(composeSecrets[name])
	})
}

func TestCompose_FileIsValid(t *testing.T) {
	file := filepath.Join(moduleFolder(t, composeSchema), "schema/compose-spec.json")
	s := readSchema(t, file, "", false)
	var doc any
	if err := yaml.Unmarshal(readCompose(t), &doc); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(asJSON(t, doc)); err != nil {
		t.Error(err)
	}
	doc.(map[string]any)["services"].(map[string]any)["app"].(map[string]any)["volume"] = "x"
	if s.Validate(asJSON(t, doc)) == nil {
		t.Error("the schema takes a field that is not there")
	}
}

// project is what deploy/compose.yaml describes, running: each service in a container of
// its own with its files, user, limits and capabilities, on networks where names lead to
// their services. Images other than pushcart's are this machine's programs.
type project struct {
	*testing.T
	services map[string]service
	prefix   string            // of names on this machine
	at       map[string]string // addresses by service
	folder   string            // of what is made for it
	running  map[string]*container
	image    image
}

const (
	frontNetwork = "172.30.61." // as in compose.yaml
	backNetwork  = "172.30.62."
)

func (p *project) ip(args ...string) {
	p.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		p.Fatalf("ip %q: %v %s", args, err, out)
	}
}

// connect makes the networks: a bridge for each, in a network namespace that is nobody's,
// and one namespace for each service and for the browser.
func (p *project) connect() {
	p.Helper()
	add := func(name string) {
		p.ip("netns", "add", p.prefix+name)
		p.Cleanup(func() { _ = exec.Command("ip", "netns", "del", p.prefix+name).Run() })
		p.ip("-n", p.prefix+name, "link", "set", "lo", "up")
	}
	add("switch")
	for _, bridge := range []string{"front", "back"} {
		p.ip("-n", p.prefix+"switch", "link", "add", bridge, "type", "bridge")
		p.ip("-n", p.prefix+"switch", "link", "set", bridge, "up")
	}
	hosts := map[string]string{} // of each network
	ports := 0
	attach := func(name, network, address string) {
		ports++
		port := "port" + strconv.Itoa(ports)
		p.ip("link", "add", network, "netns", p.prefix+name, "type", "veth", "peer", "name", port, "netns", p.prefix+"switch")
		p.ip("-n", p.prefix+"switch", "link", "set", port, "master", network, "up")
		p.ip("-n", p.prefix+name, "addr", "add", address+"/24", "dev", network)
		p.ip("-n", p.prefix+name, "link", "set", network, "up")
	}
	for i, name := range names(p.services) {
		add(name)
		for network, of := range p.services[name].Networks {
			address := of.Address
			if address == "" {
				address = map[string]string{"front": frontNetwork, "back": backNetwork}[network] + strconv.Itoa(101+i)
			}
			attach(name, network, address)
			p.at[name] = address
			hosts[network] += address + " " + strings.Join(append(of.Aliases, name), " ") + "\n"
		}
	}
	add("browser") // where nginx' published port is reached from
	attach("browser", "front", frontNetwork+"250")
	for name, s := range p.services {
		known := "127.0.0.1 localhost\n"
		for network := range s.Networks {
			known += hosts[network]
		}
		write(p.T, filepath.Join(p.folder, "hosts", name), []byte(known), 0o644)
	}
}

// up starts a service.
func (p *project) up(name string) {
	p.Helper()
	s := p.services[name]
	d := description{
		name: p.prefix + name, env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, readOnly: s.ReadOnly, files: s.Ulimits.Nofile,
		network: p.prefix + name, folder: "/", caps: usualCaps, mounts: map[string]string{"/etc/hosts": filepath.Join(p.folder, "hosts", name)},
		writable: map[string]string{}, args: s.Command,
	}
	for _, key := range names(s.Environment) {
		d.env = append(d.env, key+"="+s.Environment[key])
	}
	if slices.Contains(s.CapDrop, "ALL") {
		d.caps = nil
	}
	if s.MemLimit != "" {
		d.memory = mebibytes(p.T, strings.TrimSuffix(s.MemLimit, "m")+"Mi")
	}
	for _, volume := range s.Volumes {
		p.mount(&d, volume)
	}
	switch image, _, _ := strings.Cut(s.Image, ":"); image {
	case "pushcart":
		d.root, d.folder, d.uid = filepath.Join(p.folder, "image"), p.image.folder, 65532
		d.args = append(slices.Clone(p.image.entry), p.image.cmd...)
	case "nginx":
		d.args = []string{"nginx", "-g", "daemon off;", "-e", "stderr"}
	case "node":
		d.uid = 1000
	case "redis":
		d.folder = "/data"
		d.args = append(slices.Clone(d.args), "--protected-mode", "no") // as in the image
	default:
		p.Fatalf("what is the image %s?", s.Image)
	}
	p.running[name] = d.start(p.T)
}

func (p *project) mount(d *description, volume string) {
	parts := strings.Split(volume, ":")
	from := filepath.Join(p.folder, "deploy", parts[0])
	if !strings.HasPrefix(parts[0], "./") { // a named one
		from = filepath.Join(p.folder, parts[0])
		if err := os.MkdirAll(from, 0o777); err != nil {
			p.Fatal(err)
		}
	}
	if len(parts) > 2 && parts[2] == "ro" {
		d.mounts[parts[1]] = from
	} else {
		d.writable[parts[1]] = from
	}
}

// healthy waits for what a service's healthcheck says.
func (p *project) healthy(name string) {
	p.Helper()
	test := p.services[name].Healthcheck.Test
	if p.services[name].Image == "pushcart" {
		test = append([]string{"CMD"}, p.image.test...)
	}
	out := ""
	healthy := testkit.Until(func() bool {
		out = p.running[name].exec(test[1:]...)
		return strings.HasPrefix(out, "ready") || strings.HasPrefix(out, "PONG")
	})
	if !healthy {
		p.Fatalf("%s is not healthy: %s", name, out)
	}
}

func startProject(t *testing.T) *project {
	t.Helper()
	needs(t, "runc", "ip", "nginx", "node", "redis-server")
	r := theRelease(t)
	p := &project{T: t, prefix: fmt.Sprintf("pc%d-", os.Getpid()), at: map[string]string{}, folder: t.TempDir(), running: map[string]*container{}, image: readDockerfile(t)}
	var file struct{ Services map[string]service }
	if err := yaml.Unmarshal(readCompose(t), &file); err != nil {
		t.Fatal(err)
	}
	p.services = file.Services
	if err := os.CopyFS(filepath.Join(p.folder, "deploy/compose"), os.DirFS("../../deploy/compose")); err != nil {
		t.Fatal(err)
	}
	p.image.layOut(t, filepath.Join(p.folder, "image"), r.binary)
	for _, empty := range []string{"etc/hosts", "etc/pushcart/x"} { // to mount on
		write(t, filepath.Join(p.folder, "image", empty), nil, 0o644)
	}
	p.connect()
	for _, name := range []string{"redis", "app", "pushcart-1", "pushcart-2", "nginx"} {
		p.up(name)
		if name != "app" && name != "nginx" {
			p.healthy(name)
		}
	}
	testkit.Eventually(t, "nginx answers", func() bool {
		resp, err := p.get("/", "")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
	return p
}

// dial connects from the browser's network.
func (p *project) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	return dialIn("/run/netns/"+p.prefix+"browser")(ctx, kind, address)
}

// get asks nginx as a browser does that was told to come to shop.example.
func (p *project) get(path, cookie string) (*http.Response, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+p.at["nginx"]+path, nil)
	if err != nil {
		return nil, err
	}
	req.Host = "shop.example"
	req.Header.Set("Cookie", cookie)
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: p.dial, DisableKeepAlives: true}}
	return client.Do(req)
}

// join opens a WebSocket as a user, through nginx.
func (p *project) join(user string) *websocket.Conn {
	p.Helper()
	d := websocket.Dialer{NetDialContext: p.dial, HandshakeTimeout: 20 * time.Second}
	c, resp, err := d.Dial("ws://"+p.at["nginx"]+"/_push", http.Header{"Host": {"shop.example"}, "Origin": {"http://shop.example"}, "Cookie": {"user=" + user}})
	if err != nil {
		if resp != nil {
			p.Fatalf("%s comes in: %v: %s", user, err, resp.Status)
		}
		p.Fatalf("%s comes in: %v", user, err)
	}
	p.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	return c
}

// hears wants the next message.
func (p *project) hears(c *websocket.Conn, want string) {
	p.Helper()
	if _, got, err := c.ReadMessage(); err != nil || string(got) != want {
		p.Errorf("%v: got %q, want %q", err, got, want)
	}
}

func (p *project) says(c *websocket.Conn, text string) {
	p.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		p.Error(err)
	}
}

// nodeOf is the node that holds a user's connection, and the address that it came from.
func (p *project) nodeOf(user string) (node, ip string) {
	p.Helper()
	var answer struct {
		Connections []struct {
			NodeID   string `json:"node_id"`
			RemoteIP string `json:"remote_ip"`
		}
	}
	out := p.running["pushcart-2"].exec("/pushcart", "users", url.PathEscape(user), "--json")
	if err := json.Unmarshal([]byte(out), &answer); err != nil || len(answer.Connections) != 1 {
		p.Fatalf("users %s: %v: %s", user, err, out)
	}
	return answer.Connections[0].NodeID, answer.Connections[0].RemoteIP
}

// TestCompose_EveningOfAnOperator runs the file: two people talk over two nodes, one
// node is killed, started again, reloaded and drained, and nginx is reloaded.
func TestCompose_EveningOfAnOperator(t *testing.T) {
	t.Parallel()
	p := startProject(t)
	resp, err := p.get("/", "")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if page := readAll(t, resp.Body); !strings.Contains(page, "/_push") || !strings.HasPrefix(resp.Header.Get("Set-Cookie"), "user=guest") {
		t.Errorf("the page is %q, its cookie %q", page, resp.Header.Get("Set-Cookie"))
	}
	ann, bob := p.join("ann"), p.join("bob")
	annAt, address := p.nodeOf("ann")
	if bobAt, _ := p.nodeOf("bob"); annAt == bobAt || address != frontNetwork+"250" {
		t.Errorf("ann and bob are at %s and %s, she came from %s", annAt, bobAt, address)
	}
	p.says(ann, "hello")
	p.hears(ann, "ann: hello")
	p.hears(bob, "ann: hello")

	for _, name := range []string{"pushcart-1", "pushcart-2"} {
		if log := &p.running[name].log; log.Has("level=WARN") || log.Has("level=ERROR") || !log.Has("memory_limit=460MiB") {
			t.Errorf("%s:\n%s", name, log)
		}
	}

	// nginx takes its configuration again: who is connected stays.
	if out := p.running["nginx"].exec("nginx", "-s", "reload"); strings.Contains(out, "exit status") {
		t.Error(out)
	}
	p.says(bob, "still here")
	p.hears(ann, "bob: still here")
	p.hears(bob, "bob: still here")

	// pushcart takes its file again, through the folder that is mounted.
	file := filepath.Join(p.folder, "deploy/compose/pushcart/pushcart.yaml")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file+".new", append(b, "limits: {message_rate: 100}\n"...), 0o644)
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	if out := p.running["pushcart-1"].exec("/pushcart", "reload"); out != "limits.message_rate: 0 → 100\n" {
		t.Errorf("reload: %s", out)
	}

	// A node that drains refuses handshakes, and nginx goes to the other one.
	if out := p.running["pushcart-1"].exec("/pushcart", "drain"); out != "drained, 0 connections left\n" {
		t.Errorf("drain: %s", out)
	}
	moved, stays := ann, bob
	if _, _, err := moved.ReadMessage(); !websocket.IsCloseError(err, 1012) {
		moved, stays = bob, ann
	}
	_ = moved.Close()
	for i := range 4 {
		p.join("carol" + strconv.Itoa(i))
	}
	p.running["pushcart-1"].signal(t, "TERM")
	if err := <-p.running["pushcart-1"].done; err != nil {
		t.Error(err)
	}

	// One that is gone is left out, and found again when it is back, with Redis as its memory.
	back := p.join("dave")
	p.says(stays, "alone")
	testkit.Eventually(t, "dave hears it", func() bool {
		_, got, err := back.ReadMessage()
		return err != nil || strings.HasSuffix(string(got), ": alone")
	})
	p.up("pushcart-1")
	p.healthy("pushcart-1")
	out := ""
	if !testkit.Until(func() bool {
		p.join("eve")
		out = p.running["pushcart-1"].exec("/pushcart", "status")
		return strings.Contains(out, "here     1 connection ")
	}) {
		t.Errorf("nobody lands at the node that is back:\n%s", out)
	}
}
