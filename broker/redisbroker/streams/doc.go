// Package streams is what is kept of topics, in Redis (script.go): read for callers
// (streams.go), and followed for the topics that this node is subscribed to. A feed
// (feed.go, feed_fetch.go) makes an unbroken stream of what comes through pub/sub, which
// may break off and begin again at any time; its tail (tail.go) answers who comes back.
// One goroutine sends (loop.go) and hands out what was answered (settle.go, answer.go).
package streams
