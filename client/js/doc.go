// Package client has the JavaScript client as a file, for programs that serve it with
// their pages. It does nothing else, and never changes the file; any number of
// goroutines may read it.
package client
