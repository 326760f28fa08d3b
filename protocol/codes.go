package protocol

import "github.com/pushcart/pushcart/hub"

// Close codes of SPEC §4.4 that the sidecar itself sends. docs/close-codes.md
// tells clients which of them to reconnect after; a test holds it to this list.
const (
	CodeNormal        = 1000
	CodeGoingAway     = 1001
	CodeProtocolError = 1002
	CodeAbnormal      = 1006 // never on the wire: there was no Close
	CodeInvalidUTF8   = 1007
	CodeTooBig        = 1009
	CodeInternal      = 1011
	CodeRestart       = 1012
	CodeExpired       = 3000
	CodeNoPong        = 3008
	CodeSlow          = 4000
	CodeReplaced      = 4001
)

// end is what clients see of a cause.
type end struct {
	code   int
	reason string
}

// ends are those of the native protocols.
var ends = map[hub.Why]end{
	hub.PeerReset:     {CodeAbnormal, ""},
	hub.PeerFinished:  {CodeAbnormal, ""},
	hub.BadProtocol:   {CodeProtocolError, "protocol error"},
	hub.BadText:       {CodeInvalidUTF8, "invalid UTF-8"},
	hub.BadCompressed: {CodeInvalidUTF8, "invalid compressed data"},
	hub.TooBig:        {CodeTooBig, "message too big"},
	hub.NoPong:        {CodeNoPong, "no pong in time"},
	hub.SlowConsumer:  {CodeSlow, "slow consumer"},
	hub.Expired:       {CodeExpired, "token expired"},
	hub.Replaced:      {CodeReplaced, "replaced by a newer connection"},
	hub.Draining:      {CodeRestart, "node restarts"},
	hub.GoingAway:     {CodeGoingAway, "going away"},
	hub.Buried:        {CodeRestart, "node was declared dead"},
	hub.Failed:        {CodeInternal, "internal error"},
	hub.NoAnswer:      {CodeInternal, "backend unavailable"},
	hub.Dismissed:     {CodeNormal, ""},
}

// Code is what clients of the native protocols see of a cause: what peer or backend
// chose, else what the table says.
func Code(c *hub.Cause) (code int, reason string) {
	e, ok := ends[c.Why]
	if !ok {
		return c.Code, c.Reason
	}
	if c.Reason != "" {
		e.reason = c.Reason
	}
	return e.code, e.reason
}
