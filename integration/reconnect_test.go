package integration

import (
	"bufio"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// TestReconnectSnippet_ComesBackAfterTheServerClosedIt runs the function of
// docs/clients.md in Node.
func TestReconnectSnippet_ComesBackAfterTheServerClosedIt(t *testing.T) {
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	_, block, ok := strings.Cut(readDoc(t, "clients.md"), "\n```js\nfunction connect")
	block, _, ended := strings.Cut("function connect"+block, "\n```")
	if !ok || !ended {
		t.Fatal("docs/clients.md has no function connect")
	}
	s := sidecartest.Start(t, withJWT)
	url := "ws://" + s.Public + "/_push?access_token=" + token("42")
	cmd := exec.Command("node", "--experimental-websocket", "--no-warnings", "-e", block+"\nconnect('"+url+"', text => console.log(text))")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := make(chan string, 16)
	go func() {
		for in := bufio.NewScanner(out); in.Scan(); {
			lines <- in.Text()
		}
	}()
	for _, text := range []string{"one", "two"} {
		testkit.Eventually(t, "a push of "+text, func() bool {
			status, answer := call(t, "POST", "http://"+s.Push+"/v1/users/42/push", "text/plain", text)
			return status == http.StatusOK && strings.Contains(answer, `"nodes":1`)
		})
		select {
		case got := <-lines:
			if got != text {
				t.Fatalf("got %q, want %q", got, text)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%q did not come", text)
		}
		if status, answer := call(t, "POST", "http://"+s.Push+"/v1/users/42/disconnect", "application/json", `{"code":4100}`); status != http.StatusOK {
			t.Fatalf("disconnect: %d %s", status, answer)
		}
		testkit.Eventually(t, "the end of the connection", func() bool {
			_, answer := call(t, "GET", "http://"+s.Push+"/v1/users/42", "", "")
			return strings.Contains(answer, `"online":false`)
		})
	}
}
