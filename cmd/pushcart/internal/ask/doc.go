// Package ask has the commands that ask a node that runs, one file each: status, users,
// channels, outbox and so on. They call the push API (ask.go) or the admin listener
// (admin_call.go), and print what they say.
package ask
