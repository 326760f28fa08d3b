// Package apierror is the list of all error codes that clients and callers see
// (SPEC §6.3), with their HTTP statuses and JSON form. Values are plain data and
// may be shared between goroutines once built.
package apierror
