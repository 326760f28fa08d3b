// Package push is the push API of SPEC §6: its listener, who may call it, how a body
// becomes a [hub.Push], and the client that pushcart push uses. The hub decides who gets
// the push. The APIs of other products become siblings of this package and need nothing
// from it.
//
// All methods of API may be called concurrently.
package push
