package seats

import (
	"strconv"

	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

// names are those under which Redis knows this node: one in each partition, mostly the same
// in all. A partition where the node starts over gets a name that it never had there: the
// one that comes next, which has its lease before it stands anywhere.
type names struct {
	node string
	// in is the number of each partition's name, 0 before the first. Until the partition is
	// live again it is that of the former one.
	in [link.Partitions]uint64
	// next is the number of the name for partitions that start over, which has a lease; 0:
	// there is none. last is the number given last.
	next, last uint64
	// former are numbers that some partition had: the lease of one is dropped when its name
	// stands nowhere any more. A node that dies on the way leaves no name without a lease.
	former map[uint64]bool
}

// of is a name; a colon ends the node's id.
func (n *names) of(number uint64) string { return n.node + ":" + strconv.FormatUint(number, 10) }

// at is the name in a partition.
func (n *names) at(p int) string { return n.of(n.in[p]) }

// used are the numbers that have a lease to renew: those of live partitions, and the next.
func (n *names) used(live uint64) (all []uint64) {
	seen := map[uint64]bool{0: true}
	add := func(number uint64) {
		if !seen[number] {
			seen[number] = true
			all = append(all, number)
		}
	}
	for p, number := range n.in {
		if live>>p&1 == 1 {
			add(number)
		}
	}
	add(n.next)
	return all
}

// fresh says whether the next name has a lease, and never stood in these partitions.
func (n *names) fresh(partitions uint64) bool {
	for p, number := range n.in {
		if partitions>>p&1 == 1 && number >= n.next {
			return false
		}
	}
	return n.next != 0
}

// leased notes that the number given last has a lease.
func (n *names) leased() {
	if n.next != 0 {
		n.former[n.next] = true
	}
	n.next = n.last
}

// having are the partitions that have the name of a number, as bits.
func (n *names) having(number uint64) (partitions uint64) {
	for p, in := range n.in {
		if in == number {
			partitions |= 1 << p
		}
	}
	return partitions
}

// unnamed are the partitions that never had a name, as bits.
func (n *names) unnamed() uint64 { return n.having(0) }

// moved notes that partitions have the next name in place of their former ones. It returns
// names that stand nowhere any more.
func (n *names) moved(partitions uint64) (gone []any) {
	for p := range n.in {
		if partitions>>p&1 == 1 {
			if n.in[p] != 0 {
				n.former[n.in[p]] = true
			}
			n.in[p] = n.next
		}
	}
	for number := range n.former {
		if n.having(number) == 0 {
			delete(n.former, number)
			gone = append(gone, n.of(number))
		}
	}
	return gone
}
