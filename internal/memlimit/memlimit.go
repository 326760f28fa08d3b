package memlimit

import (
	"io/fs"
	"math"
	"os"
	"runtime/debug"
)

// Apply sets Go's soft memory limit to nine tenths of the control group's, unless the
// environment has GOMEMLIMIT, which Go has read. The rest is for what the group counts
// besides: what the kernel keeps for sockets, and pages of files.
func Apply() {
	if _, chosen := os.LookupEnv("GOMEMLIMIT"); chosen {
		return
	}
	if limit, ok := ofGroup(os.DirFS("/")); ok {
		debug.SetMemoryLimit(of(limit))
	}
}

// of is the part of a group's limit in whole MiB, as people read it in the log.
func of(limit int64) int64 { return (limit - limit/10) &^ (1<<20 - 1) }

// Bytes is the soft limit that Go works with; ok is false where there is none.
func Bytes() (limit int64, ok bool) {
	limit = debug.SetMemoryLimit(-1) // which changes nothing
	return limit, limit < math.MaxInt64
}

// ofGroup is the lowest limit of the process's control group and of those around it, in
// bytes; ok is false where there is none, and on systems without control groups. root is /.
func ofGroup(root fs.FS) (limit int64, ok bool) {
	limit = math.MaxInt64
	for _, g := range groups(root) {
		limit = min(limit, g.limit(root))
	}
	return limit, limit < unlimited
}
