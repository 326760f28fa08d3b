package roster

import (
	"strings"

	"github.com/pushcart/pushcart/broker/redisbroker/link"
)

// The names of keys; see package link's keys.go.

func (r *Roster) rosterKey(p int, node string) string { return r.link.Keys(p) + link.RosterKey + node }

func (r *Roster) deadKey(p int, node string) string { return r.link.Keys(p) + link.DeadKey + node }

func (r *Roster) dueKey(p int) string { return r.link.Keys(p) + link.DueKey }

func (r *Roster) outboxKey(p int) string { return r.link.Keys(p) + link.OutboxKey }

func (r *Roster) ownerKey(p int) string { return r.link.Keys(p) + link.OwnerKey }

func (r *Roster) presentKey(p int, channel string) string {
	return r.link.Keys(p) + link.PresentKey + channel
}

func (r *Roster) presenceKey(p int, channel string) string {
	return r.link.Keys(p) + link.PresenceKey + channel
}

func (r *Roster) nodesKey() string { return r.link.Keys(link.LeasePartition) + link.NodesKey }

func (r *Roster) clockKey() string { return r.link.Keys(link.LeasePartition) + link.ClockKey }

// nodeID is the id of a node that has this name.
func nodeID(name string) string {
	id, _, _ := strings.Cut(name, ":")
	return id
}
