// Package guard is the one policy for panics: a panic is logged with its stack, at
// most one line per place and minute, and counted; it ends the connection or the
// request that it happened in, and nothing else.
//
// Every goroutine of the sidecar, and every call out of one that serves many, runs
// under a [Guard]. A region under a lock that calls out frees the lock by defer:
// whoever cleans up after the panic may want it.
package guard
