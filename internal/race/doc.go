// Package race tells tests whether the race detector is on: what is built and
// measured differs. It is for test code only.
package race
