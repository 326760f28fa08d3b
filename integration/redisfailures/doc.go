// Package redisfailures breaks Redis in the ways that it breaks, under real nodes with
// clients, pushes and an app: each failure is caused for real, no node is started again,
// and after each everything must be as it was, or told to be lost. docs/redis.md has the
// table of what was measured.
//
// A failure is one line of a list (failures_test.go), with the deployment of Redis that
// it breaks; what is checked is the same for all (rig_test.go).
package redisfailures
