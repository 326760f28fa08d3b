package ws

import (
	"slices"

	"github.com/pushcart/pushcart/hub"
)

// Codes that never stand in a Close frame (RFC 6455 §7.4.1).
const (
	codeNoStatus = 1005 // the peer's Close had none
	codeAbnormal = 1006 // there was no Close
)

// Causes that this transport finds itself.
var (
	endGone     = &hub.Cause{Why: hub.PeerReset}
	endFIN      = &hub.Cause{Why: hub.PeerFinished}
	endNoPong   = &hub.Cause{Why: hub.NoPong}
	endSlow     = &hub.Cause{Why: hub.SlowConsumer}
	endExpired  = &hub.Cause{Why: hub.Expired}
	endDrain    = &hub.Cause{Why: hub.Draining}
	endAway     = &hub.Cause{Why: hub.GoingAway}
	endInternal = &hub.Cause{Why: hub.Failed}
	endTooBig   = &hub.Cause{Why: hub.TooBig}
	endInflate  = &hub.Cause{Why: hub.BadCompressed}
	endUTF8     = &hub.Cause{Why: hub.BadText}
)

func protocolError(reason string) *hub.Cause { return &hub.Cause{Why: hub.BadProtocol, Reason: reason} }

// final: the peer broke the protocol, said Close or sent its FIN, so that its Close
// is not waited for (RFC 6455 §7.1.1, §7.1.7).
func final(c *hub.Cause) bool {
	return slices.Contains([]hub.Why{
		hub.PeerFinished, hub.PeerClosed, hub.BadProtocol, hub.BadText, hub.BadCompressed, hub.TooBig,
	}, c.Why)
}

// dropsQueue: what waits in the outbox is given up, as nobody reads it.
func dropsQueue(c *hub.Cause) bool { return c.Why == hub.NoPong || c.Why == hub.SlowConsumer }

// validPeerCode says whether a client may send code in a Close frame (RFC 6455
// §7.4).
func validPeerCode(code int) bool {
	switch {
	case code >= 3000 && code <= 4999:
		return true
	case code < 1000 || code > 1014:
		return false
	}
	return code != 1004 && code != codeNoStatus && code != codeAbnormal
}
