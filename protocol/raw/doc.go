// Package raw is the raw protocol of SPEC §4.2: what the backend pushes is one
// message, byte for byte; what the client sends goes to the backend byte for byte, and
// a reply comes back as one message. Nothing else is ever written.
//
// It keeps nothing of a connection; all methods may be called concurrently.
package raw
