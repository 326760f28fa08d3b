package redisfailures

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// detected is when a node must have noticed that nothing comes back: a probe is sent every
// 5 s, and awaited for 3 s (SPEC §8).
const detected = 8 * time.Second

var failures = []failure{
	{name: "away while 500 clients leave and 500 come", short: 6 * time.Second, long: 30 * time.Second, notice: time.Second, crowd: 500, start: killed((*redistest.Server).RestartSaved)},
	{name: "killed, and restarted empty", short: 3 * time.Second, long: 10 * time.Second, lossy: true, notice: time.Second, crowd: 8, start: killed((*redistest.Server).Restart)},
	{name: "killed, and restarted with its data", short: 3 * time.Second, long: 10 * time.Second, notice: time.Second, crowd: 8, start: killed((*redistest.Server).RestartSaved)},
	{name: "hangs (SIGSTOP)", short: 13 * time.Second, long: 10 * time.Second, notice: detected, crowd: 8, start: hangs},
	{name: "the network drops everything", short: 13 * time.Second, long: 15 * time.Second, notice: detected, crowd: 8, start: held},
	{name: "a firewall forgot the connections", short: 4 * time.Second, long: detected, within: detected + promised, unnoticed: true, crowd: 8, start: forgotten},
	{name: "a subscriber stalls: client-output-buffer-limit", short: 2 * time.Second, long: 4 * time.Second, unnoticed: true, crowd: 8, pausesNode: true, start: stalled},
	{name: "maxmemory reached, noeviction", short: 3 * time.Second, long: 10 * time.Second, notice: 5 * time.Second, crowd: 8, start: full},
	{name: "a read-only replica, until the address moves", short: 3 * time.Second, long: 10 * time.Second, notice: time.Second, crowd: 8, start: demoted},
	{name: "another password, until it is changed back", short: 3 * time.Second, long: 10 * time.Second, notice: time.Second, crowd: 8, start: locked},
	{name: "another password, and another in password_file", short: 3 * time.Second, long: 10 * time.Second, notice: time.Second, crowd: 8, start: rotated},
	{name: "Cluster: a primary is killed", short: 3 * time.Second, long: 6 * time.Second, mayLose: true, notice: time.Second, crowd: 8, start: primaryKilled},
	{name: "Cluster: a primary hangs, and its replica takes over", short: time.Second, long: 10 * time.Second, notice: time.Second, unnoticed: true, crowd: 8, start: primaryHangs},
	{name: "Cluster: the network drops one shard, and is cut", short: 13 * time.Second, long: 15 * time.Second, notice: detected, crowd: 8, start: shardHeld},
	{name: "Cluster: everything is killed, and restarted with its data", short: 3 * time.Second, long: 10 * time.Second, notice: time.Second, crowd: 8, start: clusterRestarted},
	{name: "Cluster: a replica takes over", short: 2 * time.Second, long: 6 * time.Second, unnoticed: true, crowd: 8, start: failedOver},
	{name: "Cluster: slots move to a new primary", short: 4 * time.Second, long: 6 * time.Second, unnoticed: true, crowd: 8, start: slotsMoved},
	{name: "Sentinel: the master is killed", short: 3 * time.Second, long: 6 * time.Second, mayLose: true, notice: time.Second, crowd: 8, start: masterKilled},
	{name: "Sentinel: the replica takes over", short: 2 * time.Second, long: 6 * time.Second, unnoticed: true, crowd: 8, start: masterReplaced},
	{name: "Sentinel: the master hangs, and its replica takes over", short: time.Second, long: 10 * time.Second, unnoticed: true, crowd: 8, start: masterHangs},
	{name: "Sentinel: everything is killed, and restarted with its data", short: 3 * time.Second, long: 10 * time.Second, notice: time.Second, crowd: 8, start: allRestarted},
	{name: "the DNS name points elsewhere", short: 3 * time.Second, long: 10 * time.Second, notice: time.Second, crowd: 8, start: renamed},
}

// starter starts a Redis, and returns what breaks it for so long.
type starter func(t *testing.T) (*deployment, func(r *rig, lasts time.Duration))

// killed is a server that is killed, and started again with every write, or without any.
func killed(again func(*redistest.Server, testing.TB)) starter {
	return func(t *testing.T) (*deployment, func(*rig, time.Duration)) {
		d := newStandalone(t, redistest.Keeping...)
		return &d.deployment, func(r *rig, lasts time.Duration) {
			r.broke()
			d.server.Kill()
			<-time.After(lasts)
			r.back(func() { again(d.server, t) })
		}
	}
}

func hangs(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	d := newStandalone(t)
	return &d.deployment, func(r *rig, lasts time.Duration) {
		r.broke()
		d.server.Pause()
		<-time.After(lasts)
		r.back(d.server.Resume)
	}
}

// held is a network that drops all packets, and tells nobody.
func held(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	d := newStandalone(t)
	return &d.deployment, func(r *rig, lasts time.Duration) {
		r.broke()
		release := d.vip.Hold()
		<-time.After(lasts)
		r.back(release)
	}
}

// forgotten is a network that drops the packets of all connections that are open, for
// good, and tells nobody; new ones work at once.
func forgotten(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	d := newStandalone(t)
	return &d.deployment, func(r *rig, lasts time.Duration) {
		r.broke()
		r.back(func() { r.mended = d.vip.Forget() }) // Redis has them until its keepalive ends them
	}
}

// stalled is a node that does not read until Redis ends its subscription: so much comes.
func stalled(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	d := newStandalone(t)
	d.server.Do(t, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 512kb 1")
	return &d.deployment, func(r *rig, lasts time.Duration) {
		glutton := r.connect(1, "glutton")
		defer glutton.leave() // it may be too slow
		testkit.Eventually(t, "the node is subscribed for it", func() bool { return d.subscribers(t, ":user:glutton") > 0 })
		big := strings.Repeat("x", 500_000)
		r.broke()
		r.nodes[1].Pause()
		for d.subscribers(t, ":user:glutton") > 0 {
			if time.Since(r.brokeAt) > 8*time.Second {
				t.Error("Redis does not end the subscription")
				break
			}
			if status, answer := r.nodes[0].API("POST", "/v1/push", `{"to":{"users":["glutton"]},"text":"`+big+`"}`); status != 200 {
				t.Errorf("push: %d %s", status, answer)
			}
		}
		<-time.After(time.Until(r.brokeAt.Add(lasts)))
		r.back(r.nodes[1].Resume)
	}
}

// subscribers counts those of a channel, by how its name ends.
func (d *standalone) subscribers(t *testing.T, end string) int {
	for name, n := range d.server.Subscribers(t) {
		if strings.HasSuffix(name, end) {
			return n
		}
	}
	return 0
}

// full is a server that has no room left, and evicts nothing.
func full(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	d := newStandalone(t)
	return &d.deployment, func(r *rig, lasts time.Duration) {
		r.broke()
		d.server.Do(t, "CONFIG", "SET", "maxmemory", "1")
		<-time.After(lasts)
		r.back(func() { d.server.Do(t, "CONFIG", "SET", "maxmemory", "0") })
	}
}

// demoted is a master that hands over to its replica, and stays there as a replica until
// the address moves.
func demoted(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	d := newStandalone(t)
	next := replicaOf(t, d.server, testkit.FreeAddr(t))
	return &d.deployment, func(r *rig, lasts time.Duration) {
		r.broke()
		handOver(t, d.server, next)
		<-time.After(lasts)
		d.server = next
		r.back(func() { d.vip.Point(next.Addr) })
	}
}

// replicaOf starts a replica that has all that its master has.
func replicaOf(t *testing.T, master *redistest.Server, addr string) *redistest.Server {
	host, port, _ := net.SplitHostPort(master.Addr)
	own, _, _ := net.SplitHostPort(addr)
	s := redistest.StartAt(t, addr, "--replicaof", host+" "+port, "--replica-announce-ip", own)
	testkit.Eventually(t, "the replica has a copy", func() bool {
		return strings.Contains(s.Do(t, "INFO", "replication"), "master_link_status:up")
	})
	return s
}

// handOver makes a replica the master, without losing a write, and its master its replica.
func handOver(t *testing.T, from, to *redistest.Server) {
	host, port, _ := net.SplitHostPort(to.Addr)
	from.Do(t, "FAILOVER", "TO", host, port)
	redistest.WaitPrimary(t, to)
}

// locked is a server whose password is changed, with those who are logged in put out.
func locked(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	d := newStandalone(t)
	d.server.Do(t, "ACL", "SETUSER", "cart", "on", ">first", "~*", "&*", "+@all")
	d.yaml += ", username: cart, password: first"
	return &d.deployment, func(r *rig, lasts time.Duration) {
		r.broke()
		d.server.Do(t, "ACL", "SETUSER", "cart", "resetpass", ">second")
		d.server.Do(t, "CLIENT", "KILL", "USER", "cart")
		<-time.After(lasts)
		r.back(func() { d.server.Do(t, "ACL", "SETUSER", "cart", ">first") })
	}
}

// rotated is a server whose password is changed, and then the file from which the nodes
// have it.
func rotated(t *testing.T) (*deployment, func(*rig, time.Duration)) {
	d := newStandalone(t)
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Error(err)
		}
	}
	write("first")
	d.server.Do(t, "ACL", "SETUSER", "cart", "on", ">first", "~*", "&*", "+@all")
	d.yaml += ", username: cart, password_file: '" + file + "'"
	return &d.deployment, func(r *rig, lasts time.Duration) {
		r.broke()
		d.server.Do(t, "ACL", "SETUSER", "cart", "resetpass", ">second")
		d.server.Do(t, "CLIENT", "KILL", "USER", "cart")
		<-time.After(lasts)
		r.back(func() { write("second") })
	}
}

// TestChaos_RedisFailures: each failure, under two nodes with clients, pushes and an app,
// and none of them started again.
func TestChaos_RedisFailures(t *testing.T) {
	sidecartest.OnceWithoutRace(t)
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			f.run(t)
		})
	}
}
