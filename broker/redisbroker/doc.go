// Package redisbroker is the broker of many nodes, over Redis.
//
// A link (link.go) is a node's way to Redis: how to connect, what things are
// called, what is known of Redis' health, and how long all of it lives. These
// stand on it, each with its own connections and goroutine, and know each other
// by a few methods only:
//
//   - the publisher (publisher.go: the queue; send.go: the round trips);
//   - the subscriber (subscriptions.go: what is wanted and confirmed; subscriber.go: the
//     connection);
//   - the streams (streams.go: what callers see; streams_loop.go: the round trips;
//     feed.go: what makes an unbroken stream of what comes; streams_script.go);
//   - the canary (canary.go), which proves that messages arrive;
//   - the lists (lasting.go: what callers see; lasting_loop.go: the round trips);
//   - the seats (seats.go: what callers see; seats_loop.go: the round trips;
//     seats_beat.go: the node's name; seats_script.go).
//
// Broker (redisbroker.go) composes them. Every key and channel is named in keys.go. What
// a script or command touches lies in one partition; what concerns several is made of such
// steps, each of which may be repeated.
package redisbroker
