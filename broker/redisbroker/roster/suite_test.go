package roster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker/brokertest"
	"github.com/pushcart/pushcart/broker/redisbroker"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/leak"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
	"github.com/pushcart/pushcart/metrics"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestRoster(t *testing.T) { suite(t, redistest.Start(t)) }

// A Cluster refuses what touches more than one slot.
func TestRoster_InCluster(t *testing.T) {
	c := redistest.NewCluster(t, 3, 1, redistest.Patient...)
	suite(t, c.Primaries[0])
	c.WantNoError(t, "CROSSSLOT")
}

func TestRoster_WithSentinel(t *testing.T) {
	suite(t, redistest.NewPatientSentinels(t, 1).Sentinel(0))
}

func suite(t *testing.T, server *redistest.Server) {
	brokertest.RunRoster(t, brokertest.Rosters{Most: 3, Make: func(t *testing.T, n int) (all []brokertest.RosterBroker) {
		prefix := fmt.Sprint("test", time.Now().UnixNano())
		for i := range n {
			all = append(all, newNode(t, server.Addr, prefix, i, nil))
		}
		return all
	}})
}

func newNode(t testing.TB, addr, prefix string, i int, log *testkit.Log) *redisbroker.Broker {
	t.Helper()
	if log == nil {
		log = &testkit.Log{}
	}
	b, err := redisbroker.New(config.Redis{Addresses: []string{addr}, Prefix: prefix}, fmt.Sprint("node", i),
		metrics.New("test", ""), testkit.Logger(log))
	if err != nil {
		t.Fatal(err)
	}
	b.Quicken()
	return b
}
