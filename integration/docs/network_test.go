package docs

import (
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/pushcart/pushcart/internal/testkit"
)

// shared is held by the page that uses the machine's own ports.
var shared sync.Mutex

// ownNetwork gives a page the ports that it names. Where a test may not have a network
// of its own the machine's serve, one page after the other, if they are free.
func ownNetwork(t *testing.T) {
	t.Helper()
	t.Parallel()
	if isolate(t) {
		return
	}
	shared.Lock()
	t.Cleanup(shared.Unlock)
	for _, address := range []string{"127.0.0.1:3000", ":8080", "127.0.0.1:8081", "127.0.0.1:8082"} {
		ln, err := net.Listen("tcp", address)
		switch {
		case err == nil:
			_ = ln.Close()
		default:
			testkit.Missing(t, fmt.Sprintf("root, for a network of its own: here %v", err))
		}
	}
}
