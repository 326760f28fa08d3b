package push

// Member is the hub's record of one connection, embedded by value in the
// connection itself so that membership costs no allocation of its own.
type Member struct {
	id uint64
}
