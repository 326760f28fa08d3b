package redisbroker_test

import (
	"testing"

	"github.com/pushcart/pushcart/internal/redistest"
)

// Three primaries share the partitions: each node finds the others behind any of them. A
// Cluster refuses what touches more than one slot.
func TestRedis_InCluster(t *testing.T) {
	suite(t, redistest.NewCluster(t, 3, 1, redistest.Patient...).Primaries[1])
}

func TestRedisSeats_InCluster(t *testing.T) {
	seatsSuite(t, redistest.NewCluster(t, 3, 1, redistest.Patient...).Primaries[0])
}
