package brokertest

import (
	"context"
	"slices"
	"testing"

	"github.com/pushcart/pushcart/broker"
)

// AddName adds a name to a topic's list, which may have ten.
func AddName(t testing.TB, b broker.Lasting, topic, name string) {
	t.Helper()
	if _, err := b.ChangeLasting(context.Background(), broker.LastingChange{Topic: topic, Name: name, Most: 10}); err != nil {
		t.Errorf("add %s to %s: %v", name, topic, err)
	}
}

// WantNames holds a topic's list to names, in their order.
func WantNames(t testing.TB, b broker.Lasting, topic string, want ...string) {
	t.Helper()
	if got, err := b.Lasting(context.Background(), topic); err != nil || !slices.Equal(got[0], want) {
		t.Errorf("list of %s: got %q, %v, want %q", topic, got, err, want)
	}
}
