// Package nearest finds the word that was probably meant by one that is not known:
// a key of the configuration, a flag, a command.
package nearest
