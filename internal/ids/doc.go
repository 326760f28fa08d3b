// Package ids makes the ids of nodes, connections and messages, and reads those of
// connections back. All functions and methods may be called concurrently.
package ids
