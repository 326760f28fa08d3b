// Package link is a node's way to Redis: how to connect, what things are called, what is
// known of Redis' health, and how long all of it lives.
//
// What talks to Redis stands on a Link: it takes a Line for each of its goroutines, which
// run in Run, and sends pipelines with Line.Exchange. Every command belongs to one
// partition of names (partition.go), which its keys show; nothing that spans partitions is
// done in one step, so that their servers may be different ones. Every key and channel is
// named in keys.go.
//
// A shard is a server that serves partitions: one for all of them, or the primaries of a
// Cluster, which share them as a Topology says. follow.go finds out what the server is, and
// where partitions went; route.go has commands find their shards.
package link
