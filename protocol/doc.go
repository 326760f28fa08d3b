// Package protocol has what the protocols of its folders share: the close codes of
// SPEC §4.4. Each protocol is a package below, implements
// session.Protocol, and knows no sockets.
package protocol
