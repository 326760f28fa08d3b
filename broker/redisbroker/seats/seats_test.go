package seats

import (
	"log/slog"
	"strconv"
	"testing"

	"github.com/pushcart/pushcart/broker/internal/seattable"
	"github.com/pushcart/pushcart/broker/redisbroker/link"
	"github.com/pushcart/pushcart/broker/redisbroker/pubsub"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/leak"
	"github.com/pushcart/pushcart/metrics"
)

func TestMain(m *testing.M) { leak.Main(m) }

// A node for which too much waits decides alone, and takes seats from older
// connections of its own. Redis went on counting those for as long as the node
// lived.
func TestRedisSeats_WhoIsReplacedWhileTooMuchWaitsDoesNotKeepASeatInRedis(t *testing.T) {
	l, err := link.New(config.Redis{Addresses: []string{"127.0.0.1:1"}, Prefix: "pc"}, "node", metrics.New("", ""), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := New(l, pubsub.NewSubscriber(l, nil), config.Limits{ConnectionsPerUser: 1, PerUserPolicy: config.PolicyReplace})
	var evicted []string
	s.evict = func(connection string) { evicted = append(evicted, connection) }
	s.table.Add("ann", seattable.Seat{Connection: "old", Joined: 1})
	for i := range link.MaxPending { // nobody sends them
		user := strconv.Itoa(i)
		s.table.Add(user, seattable.Seat{Connection: "c", Joined: 1})
		s.Leave(user, "c")
	}
	if s.live != all {
		t.Fatal("the queue is not as long as it may be")
	}
	if !s.Take("ann", "new") || len(evicted) != 1 || evicted[0] != "old" {
		t.Errorf("evicted %q, want the old one in favour of the new", evicted)
	}
	if s.live&bit("ann") != 0 {
		t.Error("the node goes on under its name, which has the old seat")
	}
}
