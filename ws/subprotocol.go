package ws

import (
	"slices"
	"strings"

	"github.com/pushcart/pushcart/internal/apierror"
)

// The subprotocols of SPEC §4 that the sidecar knows by name.
const (
	protocolRaw    = "pushcart.raw.v1"
	protocolJSON   = "pushcart.json.v1"
	protocolBearer = "bearer."
)

// subprotocol selects one of those offered (RFC 6455 §4.2.2, SPEC §11): what the
// connect answer chose, else the first that is spoken. A token that came as a
// subprotocol is never echoed, unless it is all there is: browsers fail a
// handshake that selects none of what they offered.
func (h *handshake) subprotocol(id *identity) (string, *refusal) {
	if p := id.subprotocol; p != "" {
		if slices.Contains(h.offers, p) {
			return p, nil
		}
		h.srv.quiet.Warn("subprotocol not offered", "connect answer selects a subprotocol that was not offered",
			"path", string(h.head.Path), "subprotocol", p)
	}
	for _, p := range h.offers {
		if p == protocolRaw || slices.Contains(h.srv.cfg.WebSocket.Subprotocols, p) {
			return p, nil
		}
	}
	if slices.Contains(h.offers, protocolJSON) {
		return "", refuse("bad_request", apierror.InvalidArgument,
			protocolJSON+" is not available in this version; offer "+protocolRaw+" or none").look("websocket.subprotocols")
	}
	if len(h.offers) == 1 && strings.HasPrefix(h.offers[0], protocolBearer) {
		return h.offers[0], nil
	}
	h.reportUnknownProtocols()
	return "", nil
}

// reportUnknownProtocols tells why a browser fails a handshake that was let in: it
// insists on one of what it offered. Tokens among the offers are not shown.
func (h *handshake) reportUnknownProtocols() {
	if len(h.offers) == 0 {
		return
	}
	var unknown []string
	for _, p := range h.offers[:min(len(h.offers), 8)] {
		if !strings.HasPrefix(p, protocolBearer) {
			unknown = append(unknown, quote(p))
		}
	}
	h.srv.quiet.Warn("unknown subprotocols", "none of the offered subprotocols is known: browsers fail such a connection",
		"path", string(h.head.Path), "offered", strings.Join(unknown, ", "), "setting", "websocket.subprotocols")
}

// splitList splits a comma-separated header.
func splitList(s string) []string {
	var list []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}
