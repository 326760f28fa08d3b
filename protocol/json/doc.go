// Package json is pushcart.json.v1 (SPEC §4.3, docs/protocol.md): one JSON object per text
// message. Clients subscribe, publish, ask the backend and read what is kept; every
// request that has an id gets exactly one answer with that id, and an answer never
// overtakes what it announces.
//
// parse.go and frame.go read what clients send, append*.go write what they get;
// schema.json describes both, and tests hold every message to it. The package keeps
// nothing of a connection; all methods may be called concurrently.
package json
