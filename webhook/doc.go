// Package webhook tells the backend what happens: events, their CloudEvents form (binary,
// structured, batch), their signature, their delivery in order, retries and answers (SPEC
// §5). A breaker keeps requests from waiting for a backend that is down.
//
// Requests such as connect and message need an answer, which goes to the caller.
// Notifications about connections, users and channels are delivered in order for each,
// with retries, and those that the backend does not accept become dead letters (Letters).
// The package never touches a client's socket and never decides what an answer means for
// a connection. All methods of Dispatcher may be called concurrently.
package webhook
