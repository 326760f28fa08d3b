package hub

import "github.com/pushcart/pushcart/hub/internal/receipt"

// Outcome is what became of one Send.
type Outcome = receipt.Outcome

// The outcomes of Send.
const (
	Written = receipt.Written // handed to the socket whole
	Slow    = receipt.Slow    // the outbox was full; the connection is closed
	Gone    = receipt.Gone    // the connection ended before
)
