// Package admin is the listener for health, readiness and metrics (SPEC §2, §8,
// §11). It is a plain net/http server: it is not on a hot path, and the metrics
// and pprof handlers are made for it.
//
// Two calls change something, for owners only: to read the configuration again, and to
// drain the node. It shows nothing of users or payloads. Its methods may be called
// concurrently.
package admin
