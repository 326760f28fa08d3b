// Package jsonread reads JSON of strangers in one pass and without reflection: as RFC
// 8259 has it, the names of fields exact, and nothing copied that can be shared. It is
// stricter than encoding/json, which matches names with case folded and takes the last
// of two equal ones. A [Reader] is for one goroutine.
package jsonread
