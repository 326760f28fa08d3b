// Package files reads the files that the configuration names.
package files
