package memory_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/brokertest"
	"github.com/pushcart/pushcart/broker/memory"
)

const month = 30 * 24 * time.Hour

func TestMemory_ListsEnd30DaysAfterTheirLastUse(t *testing.T) {
	inBubble(t, func(t *testing.T, b *memory.Broker) {
		for _, user := range []string{"user:read", "user:added", "user:stays", "user:gone"} {
			brokertest.AddName(t, b, user, "x")
		}
		if err := b.Subscribe(t.Context(), broker.Topics("user:stays", "user:gone")...); err != nil {
			t.Fatal(err)
		}
		time.Sleep(month - time.Second)
		brokertest.WantNames(t, b, "user:read", "x")
		brokertest.AddName(t, b, "user:added", "y")
		b.Unsubscribe("user:gone")
		time.Sleep(month - time.Second)
		brokertest.WantNames(t, b, "user:read", "x")
		brokertest.WantNames(t, b, "user:added", "x", "y")
		brokertest.WantNames(t, b, "user:stays", "x")
		time.Sleep(time.Second)
		if err := b.Subscribe(t.Context(), broker.Topics("user:gone")...); err != nil {
			t.Fatal(err)
		}
		brokertest.WantNames(t, b, "user:gone") // whoever comes back does not bring it back
		time.Sleep(month)
		brokertest.WantNames(t, b, "user:stays", "x")
		brokertest.WantNames(t, b, "user:read")
		brokertest.WantNames(t, b, "user:added")
	})
}

// Lists that nobody asks for again are freed when others come.
func TestMemory_ListsThatEndedAreFreed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *memory.Broker) {
		const each = 20_000
		for round := range 3 {
			for i := range each {
				brokertest.AddName(t, b, fmt.Sprint("user:", round, ".", i), "x")
			}
			time.Sleep(month)
		}
		kept := 0
		for round := range 3 {
			for i := range each {
				if b.MayLast(fmt.Sprint("user:", round, ".", i)) {
					kept++
				}
			}
		}
		if kept > 2*each {
			t.Errorf("%d lists are kept, of %d that can still be asked for", kept, each)
		}
	})
}
