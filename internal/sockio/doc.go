// Package sockio reads and writes non-blocking sockets with less of Go's runtime
// in between. Around a system call that may wait, the runtime hands the
// processor on, and a monitor wakes every 20 µs to see whether to. One that cannot
// wait needs none of this; without it a proxied request takes a tenth less CPU.
//
// The descriptors must be non-blocking, and stay open while a call lasts; the
// functions may be called concurrently. Builds with the race detector take the
// ordinary way, which tells it what a socket orders.
package sockio
