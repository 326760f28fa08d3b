// Package testbackend is a scriptable backend for tests: it records the webhooks
// it gets and answers them as it is told. It is for test code only.
package testbackend
