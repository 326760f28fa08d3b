package leak

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

const module = "github.com/pushcart/pushcart/"

// Main runs the tests of a package and exits; goroutines with a frame of this
// module that are still there 5 s later make it fail.
func Main(m interface{ Run() int }) {
	code := m.Run()
	if code == 0 {
		if left := wait(5 * time.Second); left != "" {
			fmt.Fprintf(os.Stderr, "leaked goroutines:\n\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

func wait(patience time.Duration) string {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		left := ours()
		if left == "" || time.Now().After(deadline) {
			return left
		}
	}
}

// ours are the stacks with a frame of this module, but for the one that asks.
func ours() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for i, stack := range strings.Split(string(buf), "\n\n") {
		if i > 0 && strings.Contains(stack, module) {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}
