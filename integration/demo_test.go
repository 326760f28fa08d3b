package integration

import (
	"bufio"
	"os"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/sidecartest"
)

// TestDemo_TwoTabsChatAndTheOneThatWasOfflineCatchesUp drives pushcart demo with a real
// browser. DEMO_SCREENSHOTS names a folder to keep pictures in.
func TestDemo_TwoTabsChatAndTheOneThatWasOfflineCatchesUp(t *testing.T) {
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	url, push := startDemo(t)
	script := nodeScript(t, "demo.mjs", url, push, chromium(t), os.Getenv("DEMO_SCREENSHOTS"))
	out, err := script.Output()
	if err != nil {
		t.Errorf("the browser: %v\n%s", err, out)
	}
}

// startDemo runs pushcart demo on free ports and reads the addresses that it
// tells a person.
func startDemo(t *testing.T) (url, push string) {
	t.Helper()
	cmd := sidecartest.Tool("demo", "--listen", "127.0.0.1:0", "--push-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // Ctrl-C
		timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("demo: %v", err)
		}
	})
	pageURL, pushURL := regexp.MustCompile(`Open (http://\S+)`), regexp.MustCompile(`http://(\S+)/v1/channels/chat/push`)
	lines := bufio.NewScanner(out)
	for lines.Scan() && (url == "" || push == "") {
		if m := pageURL.FindStringSubmatch(lines.Text()); m != nil {
			url = m[1]
		}
		if m := pushURL.FindStringSubmatch(lines.Text()); m != nil {
			push = m[1]
		}
	}
	if url == "" || push == "" {
		t.Fatalf("demo told no addresses: %v", lines.Err())
	}
	return url, push
}
