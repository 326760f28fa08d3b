// Package httpclient makes the HTTP clients that ask the backend and its like: for
// webhooks, forward and key sets. All dial through package dial, take answers with
// heads up to 64 KiB and bodies up to a bound, send paths as they are written, and
// err with this package's own errors, which never quote what the other side sent.
//
// All methods of Client may be called concurrently.
package httpclient
