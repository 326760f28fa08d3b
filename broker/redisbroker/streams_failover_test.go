package redisbroker_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// replicate makes one server the other's replica and waits until it has everything.
func replicate(t *testing.T, replica, master *redistest.Server) {
	t.Helper()
	host, port, _ := net.SplitHostPort(master.Addr)
	replica.Do(t, "REPLICAOF", host, port)
	testkit.Eventually(t, "the replica is in step", func() bool {
		info := replica.Do(t, "INFO", "replication")
		return strings.Contains(info, "master_link_status:up") && strings.Contains(info, "master_sync_in_progress:0")
	})
}

// A replica that lacks the last writes is promoted behind a VIP, and the old master comes
// back as its replica.
func TestRedisStreams_APromotedReplicaThatLagged(t *testing.T) {
	t.Parallel()
	a, b := redistest.Start(t), redistest.Start(t)
	vip := redistest.NewVIP(t, a.Addr)
	nodes := witnesses(t, vip.Addr, vip.Addr)
	for _, n := range nodes {
		n.listen(t, "channel:x", "channel:whole")
	}
	first := nodes[0].keep(t, "channel:x", "a")
	whole := nodes[0].keep(t, "channel:whole", "a")
	replicate(t, b, a)
	testkit.Eventually(t, "the replica has it", func() bool { return b.Do(t, "EXISTS", redisbroker.RecordKey("pc", "channel:x")) == "1" })
	b.Do(t, "REPLICAOF", "NO", "ONE") // and nobody is there yet
	lost := nodes[1].keep(t, "channel:x", "b")
	for _, n := range nodes {
		n.await(t, "channel:x", "a b", 0)
	}
	vip.Point(b.Addr)
	a.Kill()
	next := nodes[0].keep(t, "channel:x", "c")
	if next.Offset != 2 || next.Epoch == first.Epoch {
		t.Errorf("the next is at %+v after %+v", next, lost)
	}
	for _, n := range nodes {
		n.await(t, "channel:x", "c", 1)
		n.wantRead(t, "channel:x", first, true, "a c")
		n.wantRead(t, "channel:x", lost, true, "a c")
		n.wantRead(t, "channel:x", next, false, "")
		n.wantRead(t, "channel:whole", whole, false, "")
	}
	nodes[1].keep(t, "channel:whole", "b")
	for _, n := range nodes {
		n.await(t, "channel:whole", "a b", 0)
	}

	// And back again, with everything.
	a.Restart(t)
	replicate(t, a, b)
	next = nodes[1].keep(t, "channel:x", "d")
	testkit.Eventually(t, "it is replicated", func() bool { return a.Do(t, "HGET", redisbroker.RecordKey("pc", "channel:x"), "o") == "3" })
	vip.Point(a.Addr)
	a.Do(t, "REPLICAOF", "NO", "ONE")
	b.Kill()
	last := nodes[0].keep(t, "channel:x", "e")
	if last.Offset != 4 || last.Epoch == next.Epoch {
		t.Errorf("the last is at %+v after %+v", last, next)
	}
	for _, n := range nodes {
		n.await(t, "channel:x", "c d e", 1)
		n.wantRead(t, "channel:x", next, false, "e")
	}
}

// The VIP leads to a replica for a while, which then is promoted under the connections that
// were made: its name was its master's.
func TestRedisStreams_PromotedUnderAConnection(t *testing.T) {
	t.Parallel()
	a, b := redistest.Start(t), redistest.Start(t)
	replicate(t, b, a)
	vip := redistest.NewVIP(t, a.Addr)
	nodes := witnesses(t, vip.Addr, vip.Addr)
	for _, n := range nodes {
		n.listen(t, "channel:x")
	}
	first := nodes[0].keep(t, "channel:x", "a")
	testkit.Eventually(t, "the replica has it", func() bool { return b.Do(t, "HGET", redisbroker.RecordKey("pc", "channel:x"), "o") == "1" })
	vip.Point(b.Addr)
	vip.Cut()
	a.Pause()
	defer a.Resume()
	testkit.Eventually(t, "the replica is found out", func() bool {
		err := nodes[0].Health()
		nodes[0].put(broker.Publication{Topic: "channel:x", Payload: []byte("z"), Keep: keptLong})
		return err != nil && strings.Contains(err.Error(), "READONLY")
	})
	b.Do(t, "REPLICAOF", "NO", "ONE")
	next := nodes[0].keep(t, "channel:x", "b")
	if next.Offset != 2 || next.Epoch == first.Epoch {
		t.Errorf("the next is at %+v after %+v: no fork", next, first)
	}
	for _, n := range nodes {
		n.await(t, "channel:x", "a b", 0)
		n.wantRead(t, "channel:x", first, false, "b")
	}
}

// The address moves, the old server lives on as a master, and one connection ends: all of
// that node's have to get to the new server, whichever it was.
func TestRedisStreams_NoNodeIsAtTwoServers(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		a, b := redistest.Start(t), redistest.Start(t)
		vip := redistest.NewVIP(t, a.Addr)
		node := witnesses(t, vip.Addr)[0]
		node.listen(t, "channel:x")
		node.keep(t, "channel:x", "a")
		node.read(t, broker.Query{Topic: "channel:x", Whole: true})
		_, _ = node.Lasting(t.Context(), "user:x")
		ids := clientsAt(t, a)
		if len(ids) != 4 {
			t.Fatalf("%d connections, want those that publish, subscribe, read and know of lists", len(ids))
		}
		vip.Point(b.Addr)
		a.Do(t, "CLIENT", "KILL", "ID", ids[i])
		testkit.Eventually(t, fmt.Sprint("connection ", i, " is cut: nobody is at the old server"), func() bool {
			node.put(broker.Publication{Topic: "channel:x", Payload: []byte("z"), Keep: keptLong})
			_, err := node.Read(t.Context(), broker.Query{Topic: "channel:x", End: true})
			_, listErr := node.Lasting(t.Context(), "user:x")
			return err == nil && listErr == nil && len(clientsAt(t, a)) == 0
		})
		last := node.keep(t, "channel:x", "last")
		testkit.Eventually(t, "the last arrives", func() bool { return node.last("channel:x") == last })
		noTwoAtOnePosition(t, node, "channel:x")
	}
}

// clientsAt are the ids of nodes' connections to a server, in the order they were made.
func clientsAt(t *testing.T, server *redistest.Server) (ids []string) {
	t.Helper()
	for _, line := range strings.Split(server.Do(t, "CLIENT", "LIST"), "\n") {
		if id, rest, ok := strings.Cut(strings.TrimPrefix(line, "id="), " "); ok && strings.Contains(rest, "name=pushcart-") &&
			!strings.Contains(rest, "cmd=set ") { // a subscriber asked with it whether it may write, and that is all
			ids = append(ids, id)
		}
	}
	return ids
}
