// Package logwriter is the log's way to stderr. It never blocks its callers: lines
// wait in a bounded buffer for one goroutine that writes them, and where the
// buffer is full, whole lines are dropped and counted (SPEC §11 Process).
//
// All methods may be called concurrently. It knows nothing of a line's format.
package logwriter
