// Package brokertest is the one suite that every broker passes: what package
// broker promises, as tests. It is imported by tests only.
package brokertest
