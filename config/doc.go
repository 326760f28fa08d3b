// Package config is the tree of settings of one pushcart process: structs, one
// per section of the YAML file, their defaults, the strict loader and the
// validation that reports every problem at once.
//
// It is a leaf: it imports only internal/* of the project, opens no sockets, reads only
// the files that the configuration names, and holds no run-time state. A loaded [Config]
// is a value; nobody changes it after Load, so it may be read from any goroutine.
package config
