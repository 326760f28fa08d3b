package link

import (
	"errors"
	"slices"
)

// places are the partitions, and one that holds the layout, whose key has no tag.
const (
	places      = Partitions + 1
	layoutPlace = Partitions
)

// errUnserved is for partitions that no server serves, as far as is known.
var errUnserved = errors.New("no server of the cluster serves this part of the keys")

// Topology says which shard serves which partition. It never changes: another one takes
// its place.
type Topology struct {
	// Shards are all that serve a partition.
	Shards []*Shard
	of     [places]*Shard // nil: none, as far as is known
	homes  []int          // of Shards, see Home
	over   chan struct{}  // closed when another one took its place
}

// Of is the shard that serves a partition; nil: none, as far as is known.
func (t *Topology) Of(partition int) *Shard { return t.of[partition] }

// Home is a partition of a shard: that of this node's name, if it is one of them.
func (t *Topology) Home(s *Shard) int { return t.homes[t.index(s)] }

// Serves says whether a shard has a partition.
func (t *Topology) Serves(s *Shard) bool { return t.index(s) >= 0 }

// HasLayout says whether a shard has the layout.
func (t *Topology) HasLayout(s *Shard) bool { return t.of[layoutPlace] == s }

// index is where a shard is among Shards; -1: it serves nothing.
func (t *Topology) index(s *Shard) int { return slices.Index(t.Shards, s) }

// Over is closed when another topology took its place.
func (t *Topology) Over() <-chan struct{} { return t.over }

// newTopology is for a node of this name.
func newTopology(node string, of [places]*Shard) *Topology {
	t := &Topology{of: of, over: make(chan struct{})}
	for p, s := range of[:Partitions] {
		if s != nil && !slices.Contains(t.Shards, s) {
			t.Shards, t.homes = append(t.Shards, s), append(t.homes, p)
		}
	}
	if i := slices.Index(t.Shards, of[PartitionOf(node)]); i >= 0 {
		t.homes[i] = PartitionOf(node)
	}
	return t
}

// single is the topology of one shard that serves all.
func single(node string, s *Shard) *Topology {
	var of [places]*Shard
	for p := range of {
		of[p] = s
	}
	return newTopology(node, of)
}

// same says whether both have every partition at the same shard.
func (t *Topology) same(other *Topology) bool { return other != nil && t.of == other.of }

// alone: one shard always serves everything.
func (t *Topology) alone() bool { return t.Shards != nil && t.Shards[0].alone }

// Alone says whether one server has all partitions, as far as is known.
func (l *Link) Alone() bool {
	t := l.topology.Load()
	return t == nil || t.alone()
}

// unserved: not everything has a server, as far as is known.
func (t *Topology) unserved() bool { return slices.Contains(t.of[:], nil) }
