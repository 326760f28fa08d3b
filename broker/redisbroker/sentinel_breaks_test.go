package redisbroker_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// byName are nodes that are up, with a master of the sentinels' at these addresses.
func bySentinels(t *testing.T, n int, addrs ...string) (nodes []*witness) {
	t.Helper()
	for i := range n {
		nodes = append(nodes, newWitnessAt(t, config.Redis{Addresses: addrs, Mode: config.RedisSentinel, MasterName: redistest.MasterName}, i))
	}
	for _, n := range nodes {
		testkit.Eventually(t, "a node is up", n.Up)
	}
	return nodes
}

// awaitHonest waits until every node has the last of it, and wants what is missing, or
// comes once more, to be told as lost where it is: the old master may have taken it when
// it was no more to be the master (SPEC §8).
func (f *traffic) awaitHonest(t *testing.T) {
	t.Helper()
	last := fmt.Sprint(f.stop() - 1)
	for _, topic := range f.topics {
		for i, n := range f.nodes {
			if !testkit.Until(func() bool { all := n.heard(topic); return len(all) > 0 && string(all[len(all)-1].Payload) == last }) {
				t.Fatalf("node %d: %s: the last did not come; log:\n%s", i, topic, &n.log)
			}
			if fault := dishonest(n.heard(topic)); fault != "" {
				t.Errorf("node %d: %s: %s", i, topic, fault)
			}
		}
	}
}

func dishonest(all []broker.Message) string {
	next, lost := 0, false
	for _, m := range all {
		switch m.Kind {
		case broker.Lost:
			lost = true
		case broker.Published:
			n, _ := strconv.Atoi(string(m.Payload))
			if n != next && !lost {
				return fmt.Sprintf("%d came, want %d", n, next)
			}
			next, lost = n+1, false
		}
	}
	return ""
}

// awaitFollowed wants all nodes to publish and receive at a master within 2 s of the
// moment when it was promoted.
func awaitFollowed(t *testing.T, at *redistest.Server, promoted time.Time, nodes []*witness, topic string) {
	t.Helper()
	channel := redisbroker.ChannelKey("pc", 0, topic)
	for i, n := range nodes {
		testkit.Eventually(t, "it is up, and all nodes hear it at the master", func() bool {
			p := n.put(broker.Publication{Topic: topic, Payload: []byte("m")})
			return n.Up() && p.Err == nil && p.Nodes == len(nodes) && at.Subscribers(t)[channel] == len(nodes)
		})
		if d := time.Since(promoted); d > sidecartest.Late(2*time.Second) {
			t.Errorf("node %d followed after %v, want 2 s", i, d)
		}
	}
}

func TestRedisSentinel_FailoverByCommand(t *testing.T) {
	t.Parallel()
	s := redistest.NewPatientSentinels(t, 1)
	old := s.Master(t)
	f := begin(t, bySentinels(t, 2, s.Addrs...), spread(100))
	for _, n := range f.nodes {
		n.listen(t, "user:x")
	}
	awaitFollowed(t, s.Failover(t), time.Now(), f.nodes, "user:x")
	testkit.Eventually(t, "nobody is at the old master", func() bool { return len(clientsAt(t, old)) == 0 }) // those that are not used are cut when they are
	f.awaitHonest(t)
}

// The master dies, and comes back as if nothing had happened: it holds itself for a master
// until the sentinels have time for it.
func TestRedisSentinel_TheMasterIsKilledAndComesBack(t *testing.T) {
	t.Parallel()
	s := redistest.NewSentinels(t, 1)
	old := s.Master(t)
	f := begin(t, bySentinels(t, 2, s.Addrs...), spread(100))
	for _, n := range f.nodes {
		n.listen(t, "user:x")
	}
	old.Kill()
	next := s.WaitNewMaster(t, old)
	promoted := time.Now()
	s.Calm()
	old.Restart(t)
	awaitFollowed(t, next, promoted, f.nodes, "user:x")
	late := newWitnessAt(t, config.Redis{Addresses: s.Addrs, MasterName: redistest.MasterName}, 2)
	testkit.Eventually(t, "a node that comes is up", late.Up)
	for _, id := range clientsAt(t, next) { // all connect again; those of sentinels stay, or they fail over to the old one
		next.Try("CLIENT", "KILL", "ID", id) // it may be gone
	}
	testkit.Eventually(t, "all are up again", func() bool {
		p := late.put(broker.Publication{Topic: "user:x", Payload: []byte("m")})
		return p.Nodes == 2 && f.nodes[0].Up() && f.nodes[1].Up() && late.Up()
	})
	testkit.Eventually(t, "the old master is a replica", func() bool {
		if ids := clientsAt(t, old); len(ids) > 0 {
			t.Fatalf("the sentinels name %s, and %d connections are to %s:\n%s\nlogs:\n%s\n%s\n%s", s.Master(t).Addr, len(ids), old.Addr,
				old.Do(t, "CLIENT", "LIST"), &f.nodes[0].log, &f.nodes[1].log, &late.log)
		}
		return strings.HasPrefix(old.Try("ROLE"), "[slave")
	})
	f.awaitHonest(t)
}

// Messages that only the old master had are reported as a gap, not skipped silently.
func TestRedisSentinel_LostWritesAreTold(t *testing.T) {
	t.Parallel()
	s := redistest.NewSentinels(t, 1)
	old := s.Master(t)
	nodes := bySentinels(t, 2, s.Addrs...)
	for _, n := range nodes {
		n.listen(t, "channel:x")
	}
	first := nodes[0].keep(t, "channel:x", "a")
	replica := s.Servers[1]
	testkit.Eventually(t, "the replica has it", func() bool { return replica.Do(t, "DBSIZE") == old.Do(t, "DBSIZE") })
	replica.Pause()
	old.Do(t, "CLIENT", "KILL", "TYPE", "replica") // or it would find the next write in its socket
	lost := nodes[1].keep(t, "channel:x", "b")
	for _, n := range nodes {
		n.await(t, "channel:x", "a b", 0)
	}
	old.Kill()
	replica.Resume()
	s.WaitNewMaster(t, old)
	nodes[0].keep(t, "channel:x", "c")
	for _, n := range nodes {
		n.await(t, "channel:x", "c", 1)
		n.wantRead(t, "channel:x", first, true, "a c")
		n.wantRead(t, "channel:x", lost, true, "a c")
	}
}

// A sentinel dies, and another one's word is as good; of the configured ones none need live.
func TestRedisSentinel_OtherSentinelsAreLearned(t *testing.T) {
	t.Parallel()
	s := redistest.NewSentinels(t, 1)
	nodes := bySentinels(t, 2, s.Addrs[0])
	for _, n := range nodes {
		n.listen(t, "user:x")
		testkit.Eventually(t, "all sentinels answer", func() bool { return testkit.Metric(t, n.metrics.Handler(), "pushcart_redis_sentinels") == 3 })
	}
	s.KillSentinel(0)
	old := s.Master(t)
	old.Kill()
	awaitFollowed(t, s.WaitNewMaster(t, old), time.Now(), nodes, "user:x")
	for _, n := range nodes {
		testkit.Eventually(t, "the log says which one is silent", func() bool {
			return n.log.Has("a sentinel does not answer") && n.log.Has("sentinel="+s.Addrs[0])
		})
	}
}

func TestRedisSentinel_TheMasterIsUsedWithoutSentinels(t *testing.T) {
	t.Parallel()
	s := redistest.NewPatientSentinels(t, 1)
	nodes := bySentinels(t, 2, s.Addrs...)
	for _, n := range nodes {
		n.listen(t, "user:x")
	}
	for i := range s.Addrs {
		s.KillSentinel(i)
	}
	for _, n := range nodes {
		testkit.Eventually(t, "the log says so", func() bool {
			return n.log.Has("the sentinels name no master; the one that is known is used") && n.log.Has("key=redis.addresses")
		})
		if got := testkit.Metric(t, n.metrics.Handler(), "pushcart_redis_sentinels"); got != 0 {
			t.Errorf("%v sentinels", got)
		}
	}
	s.Servers[0].Do(t, "CLIENT", "KILL", "TYPE", "normal") // new connections are made too
	s.Servers[0].Do(t, "CLIENT", "KILL", "TYPE", "pubsub")
	awaitFollowed(t, s.Servers[0], time.Now(), nodes, "user:x")
	for _, n := range nodes {
		if err := n.Health(); err != nil {
			t.Errorf("Redis is up, and health says %v", err)
		}
	}
	s.StartSentinel(t, 1)
	s.StartSentinel(t, 2)
	s.StartSentinel(t, 0)
	testkit.Eventually(t, "they are heard again", func() bool {
		return testkit.Metric(t, nodes[0].metrics.Handler(), "pushcart_redis_sentinels") == 3
	})
	awaitFollowed(t, s.Failover(t), time.Now(), nodes, "user:x")
}

// The master restarts while no sentinel answers: they may have named another one since.
func TestRedisSentinel_AMasterThatRestartsIsUsedWhenItIsNamedAgain(t *testing.T) {
	t.Parallel()
	s := redistest.NewPatientSentinels(t, 0, redistest.Keeping...)
	nodes := bySentinels(t, 2, s.Addrs...)
	for _, n := range nodes {
		n.listen(t, "channel:x")
	}
	nodes[0].keep(t, "channel:x", "a")
	for i := range s.Addrs {
		s.KillSentinel(i)
	}
	master := s.Servers[0]
	master.Kill()
	master.RestartSaved(t)
	for i, n := range nodes {
		testkit.Eventually(t, "health says why it is not used", func() bool {
			err := n.Health()
			return err != nil && strings.Contains(err.Error(), "no sentinel names it since")
		})
		if p := publish(n); !errors.Is(p.Err, broker.ErrUnavailable) {
			t.Errorf("node %d: %v", i, p.Err)
		}
	}
	for _, command := range []string{"set", "evalsha", "publish", "subscribe"} {
		if did := master.Do(t, "INFO", "commandstats"); strings.Contains(did, "cmdstat_"+command+":") {
			t.Errorf("it was used:\n%s", did)
		}
	}
	for i := range s.Addrs {
		s.StartSentinel(t, i)
	}
	awaitFollowed(t, master, time.Now(), nodes, "channel:x")
	nodes[1].keep(t, "channel:x", "b")
	for _, n := range nodes {
		testkit.Eventually(t, "nothing that was kept is lost", func() bool {
			text, lost := n.text("channel:x")
			return strings.HasPrefix(text, "a ") && strings.HasSuffix(text, " b") && lost == 0
		})
	}
}

func TestRedisSentinel_NoSentinelAtTheStart(t *testing.T) {
	t.Parallel()
	s := redistest.NewPatientSentinels(t, 0)
	for i := range s.Addrs {
		s.KillSentinel(i)
	}
	for i, mode := range []string{config.RedisSentinel, config.RedisAuto} {
		n := newWitnessAt(t, config.Redis{Addresses: s.Addrs, Mode: mode}, i)
		testkit.Eventually(t, mode+": the log and health say why", func() bool {
			err := n.Health()
			return err != nil && strings.Contains(err.Error(), s.Addrs[2]) && n.log.Has(s.Addrs[2])
		})
		if p := publish(n); !errors.Is(p.Err, broker.ErrUnavailable) {
			t.Errorf("%s: %v", mode, p.Err)
		}
		s.StartSentinel(t, i)
		testkit.Eventually(t, mode+": it is up", n.Up)
		s.KillSentinel(i)
	}
}

func TestRedisSentinel_ASettingThatDoesNotFitIsNamed(t *testing.T) {
	t.Parallel()
	s := redistest.NewPatientSentinels(t, 0)
	f := func(cfg config.Redis, want ...string) {
		t.Helper()
		cfg.Addresses = s.Addrs
		n := newWitnessAt(t, cfg, 0)
		defer n.Close()
		if want == nil {
			testkit.Eventually(t, "it is up", n.Up)
			return
		}
		for _, w := range want {
			if !testkit.Until(func() bool {
				err := n.Health()
				return err != nil && strings.Contains(err.Error(), w) && n.log.Has("redis")
			}) {
				t.Errorf("%+v: health says %v, want %q", cfg, n.Health(), w)
			}
		}
	}
	f(config.Redis{})
	f(config.Redis{Database: 3})
	f(config.Redis{Username: "nobody-there", Password: "x"}, "WRONGPASS")
	f(config.Redis{MasterName: "other"}, `redis.master_name: the sentinels watch none called "other", but main`)
	f(config.Redis{Mode: config.RedisStandalone}, "redis runs in mode sentinel")
	f(config.Redis{Mode: config.RedisCluster}, "redis runs in mode sentinel")

	host, port, _ := strings.Cut(s.Servers[0].Addr, ":")
	for i := range s.Addrs {
		s.Sentinel(i).Do(t, "SENTINEL", "MONITOR", "second", host, port, 2)
	}
	f(config.Redis{}, "redis.master_name: say which one, as the sentinels watch several: main, second")
	f(config.Redis{MasterName: "second"})

	for i := range s.Addrs {
		s.Sentinel(i).Do(t, sentinelRights...)
		s.Sentinel(i).Do(t, "ACL", "SETUSER", "default", "resetpass", ">other")
	}
	for _, mode := range []string{config.RedisSentinel, config.RedisAuto} {
		f(config.Redis{Mode: mode, MasterName: "main", SentinelUsername: "watcher", SentinelPassword: "secret"})
		f(config.Redis{Mode: mode, MasterName: "main", SentinelPassword: "other"})
		f(config.Redis{Mode: mode, MasterName: "main", SentinelUsername: "watcher", SentinelPassword: "wrong"}, "redis.sentinel_password", "WRONGPASS")
	}
	f(config.Redis{Mode: config.RedisSentinel, MasterName: "main"}, "redis.sentinel_password", "NOAUTH")
	for i := range s.Addrs {
		log := (&redistest.Server{Addr: s.Addrs[i], Password: "other"}).Do(t, "ACL", "LOG")
		if strings.Contains(log, "reason:command") || strings.Contains(log, "reason:channel") {
			t.Errorf("sentinel %d: rights are missing: %s", i, log)
		}
	}
}

// sentinelRights are those of docs/redis.md.
var sentinelRights = []any{"ACL", "SETUSER", "watcher", "on", ">secret", "resetchannels", "&+switch-master", "-@all", "+hello", "+auth", "+ping",
	"+client|setname", "+subscribe", "+sentinel|masters", "+sentinel|master", "+sentinel|get-master-addr-by-name", "+sentinel|sentinels"}

func TestRedis_AddressesThatAreNoSentinels(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	n := newWitnessAt(t, config.Redis{Addresses: []string{server.Addr}, Mode: config.RedisSentinel}, 0)
	want := server.Addr + ": not a sentinel"
	if !testkit.Until(func() bool { err := n.Health(); return err != nil && strings.Contains(err.Error(), want) }) {
		t.Errorf("health says %v, want %q", n.Health(), want)
	}
}
