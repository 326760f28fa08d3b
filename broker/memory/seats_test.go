package memory_test

import (
	"testing"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/brokertest"
	"github.com/pushcart/pushcart/broker/memory"
	"github.com/pushcart/pushcart/config"
)

func TestMemorySeats(t *testing.T) {
	brokertest.RunSeats(t, func(t *testing.T, l config.Limits, evict []func(string)) []broker.Seats {
		if len(evict) > 1 {
			t.Skip("memory is one node")
		}
		s := memory.NewSeats(l)
		s.Start(evict[0])
		return []broker.Seats{s}
	})
}
