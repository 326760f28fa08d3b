// Package plainjson writes JSON for programs: <, > and & stay as they are.
package plainjson
