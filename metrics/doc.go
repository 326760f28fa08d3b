// Package metrics is the list of all metric names and the handler that shows
// them. It has its own registry, no globals: two nodes can live in one test. No
// user id, channel name or client-supplied value ever becomes a label. All
// methods and fields may be used concurrently.
package metrics
