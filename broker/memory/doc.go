// Package memory is the broker of a single node.
//
// It has 64 shards of topics, each under one lock (memory.go). Streams are in
// streams.go, each with a ring of its messages (ring.go) and a place in its shard's list
// by last use (unused.go). The bound over all streams looks at the lists' ends, and drops
// what was unused longest (bound.go). A reader never gets what is past its age or TTL;
// the sweeper frees it later (sweep.go). Lists of names are in lasting.go, the roster
// in roster.go and presence.go, dead letters in letters.go, seats in seats.go.
package memory
