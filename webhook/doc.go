// Package webhook tells the backend what happens: events, their CloudEvents form (binary,
// structured, batch), their signature, their delivery in order, retries and answers
// (SPEC §5). A breaker keeps what is asked from waiting for a backend that is away.
//
// The backend is asked about connect and message, and its answer goes to the caller;
// it is told of the ends of connections, users and channels, in order for each, with
// retries, and what it does not take is kept as a dead letter (Letters). The
// package never touches a socket of a client and never decides what an answer
// means for a connection. All methods of Dispatcher may be called concurrently.
package webhook
