// Package hubtest has what tests of faces and transports need of a hub: connections
// that record, nodes of one network, and waits. Nothing but tests imports it.
package hubtest
