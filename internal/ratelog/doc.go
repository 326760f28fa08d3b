// Package ratelog logs what repeats: at most one line per cause and minute, which
// says how many were left out before it (SPEC §11 Process).
//
// All methods may be called concurrently. It never starts a goroutine.
package ratelog
