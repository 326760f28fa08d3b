package redisbroker_test

import (
	"testing"

	"github.com/pushcart/pushcart/internal/redistest"
)

// Three primaries share the partitions: each node finds the others behind any of them. A
// Cluster refuses what touches more than one slot.
func TestRedis_InCluster(t *testing.T) {
	c := redistest.NewCluster(t, 3, 1, redistest.Patient...)
	suite(t, c.Primaries[1])
	c.WantNoError(t, "CROSSSLOT")
}

func TestRedisSeats_InCluster(t *testing.T) {
	c := redistest.NewCluster(t, 3, 1, redistest.Patient...)
	seatsSuite(t, c.Primaries[0])
	c.WantNoError(t, "CROSSSLOT")
}
