// Package redistest starts a real redis-server for a test, on its own port
// and without persistence, and an address in front of several. It is imported by
// tests only.
package redistest
