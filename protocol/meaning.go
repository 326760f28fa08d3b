package protocol

// Meaning says in words why a connection ended with a close code, and whether a
// client should come again: the rows of docs/close-codes.md, to which a test holds it.
// Both are "" for a code that is not ours.
func Meaning(code int) (why, reconnect string) {
	if code >= 4100 && code <= 4999 {
		return "chosen by the backend", "as it says"
	}
	m := meanings[code]
	return m.why, m.reconnect
}

var meanings = map[int]struct{ why, reconnect string }{
	CodeNormal:        {"the backend or the client closed normally", "no"},
	CodeGoingAway:     {"the process is going away at once", "yes, with jitter"},
	CodeProtocolError: {"the client broke the WebSocket protocol", "no"},
	CodeAbnormal:      {"the connection broke off without a Close frame", "yes, with jitter"},
	CodeInvalidUTF8:   {"text that is not UTF-8", "no"},
	CodeTooBig:        {"a message over websocket.max_message_size, or the largest of too many unfinished ones", "no"},
	CodeInternal:      {"the sidecar failed, or the backend gave no usable answer to a message (none in time, 5xx, larger than webhook.max_answer)", "yes"},
	CodeRestart:       {"drain: the node restarts", "yes, at once, with jitter"},
	CodeExpired:       {"the token expired or was revoked", "after a new token"},
	codeForbidden:     {"forbidden (chosen by the backend)", "no"},
	CodeNoPong:        {"no sign of life in time", "yes"},
	CodeSlow:          {"slow consumer: the outbox was full", "yes"},
	CodeReplaced:      {"replaced by a newer connection of the same user", "no"},
}

// codeForbidden is sent only where the backend asks for it.
const codeForbidden = 3003
