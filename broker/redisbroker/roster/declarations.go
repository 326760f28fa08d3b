package roster

// declarations are what this node declared, and what of it Redis is still to be told.
type declarations struct {
	roster *Roster
}

func newDeclarations(r *Roster) *declarations { return &declarations{roster: r} }

// forget drops all that was declared, for a node that begins a new life.
func (d *declarations) forget() {}

// run is the goroutine of declarations.
func (d *declarations) run() { <-d.roster.link.Context().Done() }

// resync has everything declared again, in all partitions: Redis lost something.
func (d *declarations) resync() {}
