// Package lists keeps broker.Lasting in Redis: lists.go is what callers see, loop.go the
// round trips.
package lists
