package integration

import (
	"bufio"
	"net"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/testkit"
)

// redisServer is a real Redis on a port of its own.
type redisServer struct {
	addr string
	cmd  *exec.Cmd
	// dir, if set, is where every write is kept, for the next run.
	dir string
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed (make test installs it)")
	}
	return startRedisIn(t, "")
}

// startRedisIn starts one that keeps its data in a directory, if that is not "".
func startRedisIn(t *testing.T, dir string) *redisServer {
	t.Helper()
	r := &redisServer{addr: testkit.FreeAddr(t), dir: dir}
	r.run(t)
	t.Cleanup(r.kill)
	return r
}

// run starts it, again on the same port.
func (r *redisServer) run(t *testing.T) {
	t.Helper()
	_, port, _ := net.SplitHostPort(r.addr)
	args := []string{"--port", port, "--bind", "127.0.0.1", "--save", ""}
	if r.dir != "" {
		// What was answered is written, if not on the disk: that outlives a kill, and no disk is waited for.
		args = append(args, "--appendonly", "yes", "--appendfsync", "no", "--dir", r.dir)
	} else {
		args = append(args, "--appendonly", "no", "--dir", t.TempDir())
	}
	r.cmd = exec.Command("redis-server", args...)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "Redis answers", func() bool { return r.ping() })
}

// ping says whether Redis answers: one that still loads its data refuses to.
func (r *redisServer) ping() bool {
	c, err := net.DialTimeout("tcp", r.addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && answer == "+PONG\r\n"
}

// say sends one command.
func (r *redisServer) say(t *testing.T, command string) {
	t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte(command + "\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
}

// pause stops the process, as a hanging machine would; resume lets it go on.
func (r *redisServer) pause() { _ = r.cmd.Process.Signal(syscall.SIGSTOP) }

func (r *redisServer) resume() { _ = r.cmd.Process.Signal(syscall.SIGCONT) }

func (r *redisServer) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}
