package session

import (
	"slices"
	"strings"
)

// The subprotocols of SPEC §4 that the sidecar knows by name.
const (
	protocolBearer = "bearer."
)

// chooseProtocol selects one of the subprotocols offered (RFC 6455 §4.2.2, SPEC
// §11): what the connect answer chose, else the first that is spoken. A token that
// came as a subprotocol is never echoed, unless it is all there is: browsers fail a
// handshake that selects none of what they offered.
func (w *admitting) chooseProtocol() *Refusal {
	if p := w.identity.subprotocol; p != "" {
		if slices.Contains(w.offers, p) {
			w.speak(p)
			w.Subprotocol = p
			return nil
		}
		w.engine.rare.Warn("subprotocol not offered", "connect answer selects a subprotocol that was not offered",
			"path", string(w.head.Path), "subprotocol", p)
	}
	for _, p := range w.offers {
		if w.speak(p) || slices.Contains(w.set.subprotocols, p) {
			w.Subprotocol = p
			return nil
		}
	}
	if len(w.offers) == 1 && strings.HasPrefix(w.offers[0], protocolBearer) {
		w.Subprotocol = w.offers[0]
		return nil
	}
	w.reportUnknownProtocols()
	return nil
}

// speak chooses what a name asks for, if it is one of ours; other names are spoken
// as the first protocol is.
func (w *admitting) speak(name string) bool {
	i := slices.IndexFunc(w.engine.protocols, func(p Named) bool { return p.Name == name })
	if i >= 0 {
		w.protocol = uint8(i)
	}
	return i >= 0
}

// reportUnknownProtocols tells why a browser fails a handshake that was let in: it
// insists on one of what it offered. Tokens among the offers are not shown.
func (w *admitting) reportUnknownProtocols() {
	if len(w.offers) == 0 {
		return
	}
	var unknown []string
	for _, p := range w.offers[:min(len(w.offers), 8)] {
		if !strings.HasPrefix(p, protocolBearer) {
			unknown = append(unknown, quote(p))
		}
	}
	w.engine.rare.Warn("unknown subprotocols", "none of the offered subprotocols is known: browsers fail such a connection",
		"path", string(w.head.Path), "offered", strings.Join(unknown, ", "), "setting", "websocket.subprotocols")
}
