// Package nearest finds the word that an unknown one was probably meant to be:
// a key of the configuration, a flag, a command.
package nearest
