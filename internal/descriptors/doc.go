// Package descriptors shares out the process's file descriptors and survives
// running out of them: a plan says how many clients may take, so that push, admin, Redis and
// webhooks always find some, and listeners go on when there are none (SPEC §11
// Process).
//
// All methods may be called concurrently.
package descriptors
