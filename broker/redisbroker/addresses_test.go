package redisbroker_test

import (
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// The first address is dead, the second that of a replica: the master is the third. Then
// the replica takes its place.
func TestRedis_OfSeveralAddressesTheMasterIsTaken(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{config.RedisAuto, config.RedisStandalone} {
		replica, master := redistest.Start(t), redistest.Start(t)
		replicate(t, replica, master)
		cfg := config.Redis{Addresses: []string{testkit.FreeAddr(t), replica.Addr, master.Addr}, Mode: mode}
		nodes := []*witness{newWitnessAt(t, cfg, 0), newWitnessAt(t, cfg, 1)}
		for _, n := range nodes {
			testkit.Eventually(t, "it is up", n.Up)
			n.listen(t, "channel:x")
		}
		nodes[0].keep(t, "channel:x", "a")
		if ids := clientsAt(t, replica); len(ids) > 0 {
			t.Errorf("%s: %d connections to the replica", mode, len(ids))
		}
		testkit.Eventually(t, "the replica has it", func() bool { return replica.Do(t, "DBSIZE") == master.Do(t, "DBSIZE") })
		master.Kill()
		testkit.Eventually(t, mode+": the log says that there is no master", func() bool {
			return nodes[0].log.Has("no address is that of a master") && nodes[0].log.Has("server="+replica.Addr)
		})
		replica.Do(t, "REPLICAOF", "NO", "ONE")
		nodes[0].keep(t, "channel:x", "b")
		for _, n := range nodes {
			n.await(t, "channel:x", "a b", 0)
		}
	}
}

// Any server of a Cluster says where the others are, and the first address may be dead.
func TestRedisCluster_TheFirstAddressIsDead(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3, 0)
	for i, mode := range []string{config.RedisAuto, config.RedisCluster} {
		n := newWitnessAt(t, config.Redis{Addresses: []string{testkit.FreeAddr(t), c.Primaries[2].Addr, c.Primaries[1].Addr}, Mode: mode}, i)
		testkit.Eventually(t, mode+": it is up", n.Up)
	}
}
