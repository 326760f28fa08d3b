package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// image is what the Dockerfile's last stage says.
type image struct {
	files            map[string]string // copied from the first stage: where to → where from
	user, folder     string
	entry, cmd, test []string
}

func readDockerfile(t *testing.T) (i image) {
	t.Helper()
	b, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, last, ok := strings.Cut(string(b), "\nFROM scratch\n")
	if !ok {
		t.Fatal("the image is not made from scratch")
	}
	list := func(text string) (out []string) {
		for _, word := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(text, -1) {
			out = append(out, word[1])
		}
		return out
	}
	i.files = map[string]string{}
	for line := range strings.Lines(last) {
		switch word, rest, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "COPY":
			paths := strings.Fields(strings.TrimPrefix(rest, "--from=build "))
			i.files[paths[1]] = paths[0]
		case "USER":
			i.user = rest
		case "WORKDIR":
			i.folder = rest
		case "ENTRYPOINT":
			i.entry = list(rest)
		case "CMD":
			i.cmd = list(rest)
		case "HEALTHCHECK":
			i.test = list(rest)
		}
	}
	return i
}

// layOut makes the image's file system.
func (i image) layOut(t *testing.T, root, binary string) {
	t.Helper()
	for to, from := range i.files {
		if from == "/pushcart" {
			from = binary
		}
		if strings.HasSuffix(to, "/") {
			to += filepath.Base(from) // of Debian's ca-certificates, as in the first stage
		}
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, to), b, 0o755)
	}
}

// write makes a file, and the folders that it is in.
func write(t *testing.T, file string, b []byte, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, mode); err != nil {
		t.Fatal(err)
	}
}

// TestImage_RunsReadOnlyAsAnyUser lays out what the Dockerfile copies, and runs what it
// runs, as Docker and Kubernetes do: no shell, no /tmp, no home, no entry in any passwd.
func TestImage_RunsReadOnlyAsAnyUser(t *testing.T) {
	needs(t, "runc")
	t.Parallel()
	r, i := theRelease(t), readDockerfile(t)
	if i.user != "65532:65532" || i.folder != "/etc/pushcart" || len(i.files) != 2 {
		t.Errorf("the Dockerfile has user %s, folder %s, files %v", i.user, i.folder, i.files)
	}
	config := "backend: {url: 'http://127.0.0.1:3000'}\nauth: {anonymous: true}\nlimits: {connections_per_ip: %d}\n"
	root := t.TempDir()
	i.layOut(t, root, r.binary)
	file := filepath.Join(root, i.folder, "pushcart.yaml")
	write(t, file, fmt.Appendf(nil, config, 1), 0o644)
	c := description{
		name: "image", root: root, args: append(i.entry, i.cmd...), folder: i.folder, uid: 1234567, readOnly: true, memory: 128 << 20,
	}.start(t)
	c.log.Await(t, "pushcart started")
	f := func(what, got, want string) {
		t.Helper()
		if !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q in it\n%s", what, got, want, &c.log)
		}
	}
	f("the log, 90 % of 128 MiB", c.log.String(), "memory_limit=115MiB")
	f("the log, of 640 MiB that may wait", c.log.String(), "look_at=\"websocket.outbox.total, websocket.inbound_total\"")
	f("health", c.exec(i.test...), "ready\n")
	f("status", c.exec("/pushcart", "status"), "(limit 3276)") // 80 % of the 4096 that Go may take
	f("push", c.exec("/pushcart", "push", "--all", "hello"), `"nodes":1`)
	write(t, file, fmt.Appendf(nil, config, 2), 0o644)
	f("reload", c.exec("/pushcart", "reload"), "limits.connections_per_ip: 1 → 2\n")
	f("drain", c.exec("/pushcart", "drain"), "drained, 0 connections left\n")
	f("health after it", c.exec(i.test...), "not ready: 503")
	c.signal(t, "TERM")
	if err := <-c.done; err != nil {
		t.Errorf("its end: %v\n%s", err, &c.log)
	}
}
