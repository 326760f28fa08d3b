// Package sidecartest starts the real pushcart binary for a test, and asks it what its
// users would: over its listeners, and by its log. It is imported by tests only.
//
// TestMain calls Build; Start may then be called by several tests at once.
package sidecartest
