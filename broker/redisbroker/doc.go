// Package redisbroker is the broker of many nodes, over Redis.
//
// Broker composes what stands on a link (package link), each with its own connections and
// goroutine:
//
//   - streams: what is kept of topics;
//   - pubsub: what publishes, receives, and proves that messages arrive;
//   - lists: names that are kept with a topic;
//   - seats: the places of users' connections;
//   - roster: who is here, over all nodes, and what the backend is to be told of it.
//
// They know each other by a few methods only. What a script or command touches lies in one
// partition; what concerns several is made of such steps, each of which may be repeated.
package redisbroker
