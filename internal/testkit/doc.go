// Package testkit has what tests of every package need: waits with a deadline, logs
// that can be read while others write them, values of metrics, certificates and
// addresses. Nothing but tests and the bench imports it.
package testkit
