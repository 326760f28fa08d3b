// Package leak fails a test run that leaves goroutines of this module behind. It
// is for TestMain and nothing else.
package leak
