// Package glob is the patterns for channel names that rules, grants and lists use: *
// stands for any characters but dots, ** for any, and {user} for one segment between
// dots, the id of the user who asks.
//
// It knows names only, not what a rule allows. A [Pattern] does not change and may be
// used concurrently.
package glob
