package ws

// Cause says why a connection ended, as the disconnected event and the metric
// label name it (SPEC §5).
type Cause string

// The causes of SPEC §5. node_lost is told by survivors and not by this package.
const (
	CauseClient  Cause = "client"
	CauseBackend Cause = "backend"
	CauseTimeout Cause = "timeout"
	CauseSlow    Cause = "slow"
	CauseDrain   Cause = "drain"
	CauseError   Cause = "error"
)

// Close codes of SPEC §4.4 that the sidecar itself sends. docs/close-codes.md
// tells clients which of them to reconnect after; a test holds it to this list.
const (
	CodeNormal        = 1000
	CodeGoingAway     = 1001
	CodeProtocolError = 1002
	CodeNoStatus      = 1005 // never on the wire: the peer's Close had no code
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

// ending is why a connection ends. The first one of a connection wins.
type ending struct {
	code   int
	reason string
	cause  Cause
	// abrupt: the peer is gone, there is nobody to send a Close to.
	abrupt bool
	// final: the peer broke the protocol, said Close or sent its FIN, so that its
	// Close is not waited for (RFC 6455 §7.1.1, §7.1.7).
	final bool
	// dropQueue: what waits in the outbox is given up first.
	dropQueue bool
}

var (
	endGone     = &ending{code: CodeAbnormal, cause: CauseClient, abrupt: true}
	endFIN      = &ending{code: CodeAbnormal, cause: CauseClient, final: true} // and nobody hears a Close
	endNoPong   = &ending{code: CodeNoPong, reason: "no pong in time", cause: CauseTimeout, dropQueue: true}
	endSlow     = &ending{code: CodeSlow, reason: "slow consumer", cause: CauseSlow, dropQueue: true}
	endExpired  = &ending{code: CodeExpired, reason: "token expired", cause: CauseTimeout}
	endReplaced = &ending{code: CodeReplaced, reason: "replaced by a newer connection", cause: CauseBackend}
	endDrain    = &ending{code: CodeRestart, reason: "node restarts", cause: CauseDrain}
	endAway     = &ending{code: CodeGoingAway, reason: "going away", cause: CauseDrain}
	endInternal = &ending{code: CodeInternal, reason: "internal error", cause: CauseError}
	endNoAnswer = &ending{code: CodeInternal, reason: "backend unavailable", cause: CauseError}
	endRefused  = &ending{code: CodeNormal, cause: CauseBackend} // 410 to a message
	endTooBig   = &ending{code: CodeTooBig, reason: "message too big", cause: CauseError, final: true}
	endInflate  = &ending{code: CodeInvalidUTF8, reason: "invalid compressed data", cause: CauseError, final: true}
	endUTF8     = &ending{code: CodeInvalidUTF8, reason: "invalid UTF-8", cause: CauseError, final: true}
)

func protocolError(reason string) *ending {
	return &ending{code: CodeProtocolError, reason: reason, cause: CauseError, final: true}
}

// validPeerCode says whether a client may send code in a Close frame (RFC 6455
// §7.4).
func validPeerCode(code int) bool {
	switch {
	case code >= 3000 && code <= 4999:
		return true
	case code < 1000 || code > 1014:
		return false
	}
	return code != 1004 && code != CodeNoStatus && code != CodeAbnormal
}
