// Package access makes connections to servers of Redis, by what section redis says of
// addresses, credentials and TLS, and says why one cannot be made.
package access
