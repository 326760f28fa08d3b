// Package integration tests the real binary, built with -race if the tests are, against a real
// Redis, scripted backends and a real browser. It imports none of the product's
// packages: what it knows is what a user knows.
package integration
