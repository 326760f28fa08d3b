// Package requestid names requests: with the id that a front gave, or a new one. It is
// pure functions over values.
package requestid
