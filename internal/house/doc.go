// Package house is the structure of the code as a test: which package may import
// which, and how long a function or a file may be. It has no code of its own.
package house
