package integration

import (
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/testkit"
)

// redisServer is a real Redis on a port of its own.
type redisServer struct {
	addr string
	cmd  *exec.Cmd
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed (make test installs it)")
	}
	r := &redisServer{addr: testkit.FreeAddr(t)}
	r.run(t)
	t.Cleanup(r.kill)
	return r
}

// run starts it, again on the same port.
func (r *redisServer) run(t *testing.T) {
	t.Helper()
	_, port, _ := net.SplitHostPort(r.addr)
	r.cmd = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "Redis takes connections", func() bool {
		c, err := net.DialTimeout("tcp", r.addr, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

func (r *redisServer) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}
