// Package roster keeps broker.Roster and broker.Outbox in Redis: what each node has, what
// follows of it over all nodes, and what the backend is still to be told.
//
// A node is known in Redis by its name, ID:EPOCH; the epoch counts the lives of the
// process (life.go). All that is known of a user or a channel is in the partition of its
// name, so that one script changes it together with the node's own list, the roster, and
// with the facts that follow:
//
//	roster:NODE       hash   what NODE declared of names in this partition (fields.go)
//	dead:NODE         mark   NODE was buried: nothing more is taken from it
//	user:USER         hash   a field for each node that has the user, and what is told of it
//	channel:CHANNEL   hash   the same for a channel's subscribers
//	present:CHANNEL   zset   the members of a channel in the order of their names
//	presence:CHANNEL  hash   how many connections each node has of each, since when, info
//	due               zset   who is offline, vacated or left at a time, unless seen again
//	outbox            stream the facts that are to be told
//	owner             string the node that tells them
//
// Only Redis' clock counts. Its scripts share their first part (prelude.go).
//
// What this node declares is sent in batches, each numbered: a batch whose answer was lost
// is sent again and not done again, and a Redis that lost some of them is found out and
// told everything anew (resync). A declaration that Redis confirmed before is marked as
// known: then what follows of it is not told a second time.
//
// All methods may be called concurrently. Two goroutines talk to Redis, each on a
// connection of its own: one declares and reads members, the other beats, buries and tells.
package roster
