package examples

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// liveLines is the README's snippet for a page. The page of examples/ has the same,
// and is tried in a browser on the real binary.
func liveLines(t *testing.T) string { return block(t, "README.md", "js", 0) }

func TestReadme_TenLinesReconnectWithJitterAsTheCloseCodesSay(t *testing.T) {
	lines := liveLines(t)
	if n := strings.Count(lines, "\n"); n != 10 || !strings.HasPrefix(lines, "function live(") {
		t.Fatalf("%d lines:\n%s", n, lines)
	}
	cmd := exec.Command("node", root+"integration/node/live.mjs")
	cmd.Stdin, cmd.Stderr = strings.NewReader(lines), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var ended, want []int
	if err := json.Unmarshal(out, &ended); err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\| (\d{4}) \|.*\| no \|$`).FindAllStringSubmatch(read(t, "docs/close-codes.md"), -1) {
		code, _ := strconv.Atoi(m[1])
		want = append(want, code)
	}
	if !slices.Equal(ended, want) {
		t.Errorf("it does not come back after %v, docs/close-codes.md says %v", ended, want)
	}
}
