package redistest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/testkit"
)

// MasterName is what the sentinels of NewSentinels call their master.
const MasterName = "main"

// patient is when sentinels take a master for dead that does not die.
const patient = time.Minute

// Sentinels are a master with replicas, and processes that watch them.
type Sentinels struct {
	// Servers began as a master and its replicas.
	Servers []*Server
	// Addrs are those of the sentinels.
	Addrs []string

	files     []string
	processes []*exec.Cmd
}

// NewSentinels starts a master with replicas and three sentinels, that end with the test.
// The sentinels notice after a second that the master is gone.
func NewSentinels(t testing.TB, replicas int, args ...string) *Sentinels {
	t.Helper()
	return newSentinels(t, time.Second, replicas, args)
}

// NewPatientSentinels is NewSentinels where no master dies: where a machine is so slow that
// it is not heard for a second, it is not taken for dead. Failover works.
func NewPatientSentinels(t testing.TB, replicas int, args ...string) *Sentinels {
	t.Helper()
	return newSentinels(t, patient, replicas, args)
}

func newSentinels(t testing.TB, downAfter time.Duration, replicas int, args []string) *Sentinels {
	t.Helper()
	s := &Sentinels{Servers: []*Server{start(t, &Server{args: args})}}
	master := s.Servers[0]
	host, port, _ := net.SplitHostPort(master.Addr)
	for range replicas {
		r := start(t, &Server{args: append([]string{"--replicaof", host + " " + port}, args...)})
		testkit.Eventually(t, "the replica has a copy", func() bool {
			return strings.Contains(r.Try("INFO", "replication"), "master_link_status:up")
		})
		s.Servers = append(s.Servers, r)
	}
	dir := t.TempDir()
	for i := range 3 {
		addr := testkit.FreeAddr(t)
		_, at, _ := net.SplitHostPort(addr)
		file := filepath.Join(dir, fmt.Sprintf("sentinel-%d.conf", i))
		lines := []string{
			"port " + at, "bind 127.0.0.1", "dir " + dir,
			fmt.Sprintf("sentinel monitor %s %s %s 2", MasterName, host, port),
			fmt.Sprintf("sentinel down-after-milliseconds %s %d", MasterName, downAfter.Milliseconds()),
			"sentinel failover-timeout " + MasterName + " 5000",
		}
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Addrs, s.files, s.processes = append(s.Addrs, addr), append(s.files, file), append(s.processes, nil)
		s.StartSentinel(t, i)
		t.Cleanup(func() { s.KillSentinel(i) })
	}
	for _, addr := range s.Addrs {
		one := &Server{Addr: addr}
		testkit.Eventually(t, "the sentinels know each other and the replicas", func() bool {
			about := one.Try("SENTINEL", "MASTER", MasterName)
			return strings.Contains(about, fmt.Sprintf("num-slaves:%d", replicas)) && strings.Contains(about, "num-other-sentinels:2") ||
				strings.Contains(about, fmt.Sprintf("num-slaves %d", replicas)) && strings.Contains(about, "num-other-sentinels 2")
		})
	}
	return s
}

// StartAlone starts one sentinel with these lines of configuration, that ends with the test,
// and returns its port.
func StartAlone(t testing.TB, lines ...string) (port string) {
	t.Helper()
	addr, dir := testkit.FreeAddr(t), t.TempDir()
	_, port, _ = net.SplitHostPort(addr)
	s := &Sentinels{Addrs: []string{addr}, files: []string{filepath.Join(dir, "sentinel.conf")}, processes: make([]*exec.Cmd, 1)}
	lines = append([]string{"port " + port, "bind 127.0.0.1", "dir " + dir}, lines...)
	if err := os.WriteFile(s.files[0], []byte(strings.ReplaceAll(strings.Join(lines, "\n"), "PORT", port)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.KillSentinel(0) })
	s.StartSentinel(t, 0)
	return port
}

// StartSentinel starts one that was killed, with what it knew.
func (s *Sentinels) StartSentinel(t testing.TB, i int) {
	t.Helper()
	cmd := exec.Command("redis-server", s.files[i], "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.processes[i] = cmd
	testkit.Eventually(t, "the sentinel listens", func() bool {
		conn, err := net.DialTimeout("tcp", s.Addrs[i], time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// Sentinel is one of them, to be asked.
func (s *Sentinels) Sentinel(i int) *Server { return &Server{Addr: s.Addrs[i], cmd: s.processes[i]} }

// KillSentinel ends one.
func (s *Sentinels) KillSentinel(i int) {
	if cmd := s.processes[i]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		s.processes[i] = nil
	}
}

// Failover has the sentinels promote a replica, and returns which server is the master then.
func (s *Sentinels) Failover(t testing.TB) *Server {
	t.Helper()
	before := s.Master(t)
	s.order(t)
	return s.WaitNewMaster(t, before)
}

// Calm has them be patient from now on, see NewPatientSentinels. Those that took a master for
// dead may do the same to the next one before they ever heard it, where a machine is slow.
func (s *Sentinels) Calm() {
	for _, addr := range s.Addrs {
		(&Server{Addr: addr}).Try("SENTINEL", "SET", MasterName, "down-after-milliseconds", patient.Milliseconds()) // it may be killed
	}
}

// order has a failover begin.
func (s *Sentinels) order(t testing.TB) {
	t.Helper()
	one := &Server{Addr: s.Addrs[0]}
	testkit.Eventually(t, "the sentinels begin a failover", func() bool {
		return one.Try("SENTINEL", "FAILOVER", MasterName) == "OK"
	})
}

// Master is the server that the sentinels name.
func (s *Sentinels) Master(t testing.TB) *Server {
	t.Helper()
	if m := s.named(); m != nil {
		return m
	}
	t.Fatal("no sentinel names a master")
	return nil
}

func (s *Sentinels) named() *Server {
	for _, addr := range s.Addrs {
		said := (&Server{Addr: addr}).Try("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName)
		for _, server := range s.Servers {
			host, port, _ := net.SplitHostPort(server.Addr)
			if said == fmt.Sprintf("[%s %s]", host, port) {
				return server
			}
		}
	}
	return nil
}

// WaitNewMaster waits until the sentinels name another master than before, and it is one.
func (s *Sentinels) WaitNewMaster(t testing.TB, before *Server) (master *Server) {
	t.Helper()
	testkit.Eventually(t, "the sentinels promote a replica", func() bool {
		master = s.Master(t)
		return master != before && strings.HasPrefix(master.Try("ROLE"), "[master")
	})
	return master
}
