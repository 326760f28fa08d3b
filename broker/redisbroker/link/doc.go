// Package link is a node's way to Redis: how to connect, what things are called, what is
// known of Redis' health, and how long all of it lives.
//
// What talks to Redis stands on a Link: it takes a Line for each of its goroutines, which
// run in Run, and sends pipelines with Line.Exchange. Every command belongs to one
// partition of names (partition.go), which its keys show; nothing that spans partitions is
// done in one step, so that their servers may be different ones. Every key and channel is
// named in keys.go.
package link
