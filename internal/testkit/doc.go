// Package testkit has what tests of every package need: waits with a deadline, logs
// that can be read while others write them, values of metrics. Nothing but tests
// imports it.
package testkit
