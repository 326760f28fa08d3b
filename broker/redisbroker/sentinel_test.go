package redisbroker_test

import (
	"testing"

	"github.com/pushcart/pushcart/internal/redistest"
)

func TestRedis_WithSentinel(t *testing.T) { suite(t, redistest.NewSentinels(t, 1).Sentinel(1)) }

func TestRedisSeats_WithSentinel(t *testing.T) {
	s := redistest.NewSentinels(t, 1)
	seatsSuiteAt(t, s.Addrs[2], s.Master(t))
}
