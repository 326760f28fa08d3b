// Package sdnotify tells a service manager, systemd, how far the process is
// (sd_notify(3)): that it is ready, and how long its end will take.
//
// It never waits for an answer. Its methods may be called concurrently.
package sdnotify
