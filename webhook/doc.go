// Package webhook tells the backend what happens: events, their CloudEvents form,
// their signature, their delivery in order, retries and answers (SPEC §5).
//
// What is asked (connect, message) is answered to the caller; what is told
// (connected, disconnected) is delivered in order per connection and retried. The
// package never touches a socket of a client and never decides what an answer
// means for a connection. All methods of Dispatcher may be called concurrently.
package webhook
