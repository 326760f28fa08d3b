package registry

// Why is the kind of thing that ended a connection. Protocols turn it into what
// their clients see, transports into what is still written.
type Why uint8

// What ends connections.
const (
	PeerReset     Why = iota + 1 // the peer is gone, nothing can be written
	PeerFinished                 // the peer sent all it had, without saying goodbye
	PeerClosed                   // the peer said goodbye; Code and Reason are its own
	BadProtocol                  // the peer broke the transport's protocol; Reason says how
	BadText                      // text that is not UTF-8
	BadCompressed                // compressed data that is none
	TooBig                       // a message over websocket.max_message_size
	NoPong                       // no sign of life in time
	SlowConsumer                 // the outbox was full
	Expired                      // the token's or the connect answer's time is over
	Replaced                     // by a newer connection of the same user
	Draining                     // the node restarts
	GoingAway                    // the process ends at once
	Failed                       // a fault of the sidecar
	NoAnswer                     // the backend did not answer a message
	Dismissed                    // the backend answered a message with 410
	Buried                       // the other nodes took this one for dead, and told its end
	Disconnected                 // the backend asked for it; Code and Reason are its own
)

// Cause is why a connection ended. The first one of a connection counts. It does
// not change.
type Cause struct {
	Why Why
	// Code and Reason are the peer's or the backend's; else 0 and "", and the
	// connection's protocol chooses.
	Code   int
	Reason string
}

// Label is the cause as the disconnected event and metrics name it (SPEC §5).
func (w Why) Label() string {
	switch w {
	case PeerReset, PeerFinished, PeerClosed:
		return "client"
	case Replaced, Dismissed, Disconnected:
		return "backend"
	case NoPong, Expired:
		return "timeout"
	case SlowConsumer:
		return "slow"
	case Draining, GoingAway:
		return "drain"
	case Buried:
		return "node_lost"
	}
	return "error"
}
