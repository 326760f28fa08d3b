// Package seats keeps broker.Seats in Redis, over all nodes: seats.go is what callers see,
// loop.go the round trips, beat.go the node's name, script.go what Redis does.
package seats
