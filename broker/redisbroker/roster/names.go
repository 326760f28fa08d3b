package roster

import "strings"

// The names of keys, each after what begins its partition's. Package link's keys.go and
// docs/operations.md have them all.

func (r *Roster) rosterKey(p int, node string) string { return r.link.Keys(p) + "roster:" + node }

func (r *Roster) deadKey(p int, node string) string { return r.link.Keys(p) + "dead:" + node }

func (r *Roster) dueKey(p int) string { return r.link.Keys(p) + "due" }

func (r *Roster) outboxKey(p int) string { return r.link.Keys(p) + "outbox" }

func (r *Roster) ownerKey(p int) string { return r.link.Keys(p) + "owner" }

func (r *Roster) presentKey(p int, channel string) string {
	return r.link.Keys(p) + "present:" + channel
}

func (r *Roster) presenceKey(p int, channel string) string {
	return r.link.Keys(p) + "presence:" + channel
}

// nodeID is the id of a node that has this name.
func nodeID(name string) string {
	id, _, _ := strings.Cut(name, ":")
	return id
}
