// Package master finds the one server that all goes to, where that may be one of several:
// the first of a list that is a master, or the one that Redis Sentinels name.
package master
