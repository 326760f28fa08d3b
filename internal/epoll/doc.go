// Package epoll watches descriptors that have left Go's netpoller: for those who
// hold so many of them that a goroutine each is too much. It is for Linux; only
// Duplicate is there on every system.
package epoll
