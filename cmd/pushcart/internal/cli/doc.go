// Package cli is what all commands of pushcart share: errors of a command line, and the
// flags and sections of the configuration that tools need.
package cli
