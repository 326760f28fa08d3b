package broker

import "github.com/pushcart/pushcart/config"

// Seats counts the connections of each user across all nodes, for
// limits.connections_per_user. It is separate from Broker: a node without that limit pays
// nothing.
type Seats interface {
	// Start begins to count. evict is called, on the node that holds it, for each
	// connection whose seat went to a newer one, once; it must not block. Call Start
	// once, before everything else.
	Start(evict func(connection string))
	// Take asks for a seat for a connection; false: the user has all that it may
	// have. With the replace policy there always is one, and the user's oldest
	// connections lose theirs. Asking again for the same connection takes no second
	// one. Never longer than 1 s: without Redis this node's own count decides, and
	// what other nodes hold counts again when it is back.
	Take(user, connection string) bool
	// Leave gives the seat back, if the connection still has it. It does not wait.
	Leave(user, connection string)
	// Adopt counts a connection that came when there was no limit. It evicts nobody,
	// also past the limit, and does not wait.
	Adopt(user, connection string)
	// Apply changes the limits. Nobody is evicted until somebody else comes.
	Apply(l config.Limits)
}
