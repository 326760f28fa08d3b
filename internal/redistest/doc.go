// Package redistest starts a real redis-server for a test, on a port of its own
// and without persistence. It is imported by tests only.
package redistest
