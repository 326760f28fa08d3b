// Package pubsub publishes messages and receives them. The Publisher joins what many
// callers publish into round trips (publisher.go: the queue; send.go: the round trips).
// The Subscriber keeps one connection subscribed to what is wanted (subscriptions.go: what
// is wanted and confirmed; subscriber.go: the connection). The Canary proves that what
// goes out on the one comes in on the other.
package pubsub
