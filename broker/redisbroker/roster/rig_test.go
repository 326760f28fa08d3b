package roster

import "time"

// Quicken has a node beat fast. Call it before Start.
func (r *Roster) Quicken() { r.keeper.pace.beat = 50 * time.Millisecond }

// KeyOf is a key about a name: rest comes before the name.
func (r *Roster) KeyOf(rest, name string) string {
	return r.link.Keys(r.link.Partition(name)) + rest + name
}

// KeyBeside is a key in the partition of a name.
func (r *Roster) KeyBeside(name, rest string) string {
	return r.link.Keys(r.link.Partition(name)) + rest
}

// Name is the node's, in Redis.
func (r *Roster) Name() string { return r.life.name() }

// CheckAll is what a beat does that finds that Redis lost data.
func (r *Roster) CheckAll() { r.declared.checkAll() }

// RenewAll declares everything again, as is done within an hour.
func (r *Roster) RenewAll() {
	d := r.declared
	d.mu.Lock()
	defer d.mu.Unlock()
	for p, part := range d.parts {
		part.renew = nil
		part.renewSome(1)
		d.touchLocked(p)
	}
}

// Entries is how many declarations are kept.
func (r *Roster) Entries() (n int) {
	r.declared.mu.Lock()
	defer r.declared.mu.Unlock()
	for _, p := range r.declared.parts {
		n += len(p.entries)
	}
	return n
}
