// Package sockio reads and writes non-blocking sockets with less of Go's runtime
// in between. A system call that cannot wait needs none of what the runtime does
// for one that can: it hands the processor on, and a monitor that wakes every
// 20 µs looks whether to. Without, a proxied request takes a tenth less CPU.
//
// The descriptors must be non-blocking, and stay open while a call lasts; the
// functions may be called concurrently. Builds with the race detector take the
// ordinary way, which tells it what a socket orders.
package sockio
