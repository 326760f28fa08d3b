// Package listen is a WebSocket client for a terminal: it prints what comes, with its
// time, and sends what is typed, line by line. It knows nothing of users, tokens or the
// configuration: pushcart listen does.
package listen
