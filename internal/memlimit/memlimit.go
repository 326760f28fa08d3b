package memlimit

import (
	"io/fs"
	"math"
	"os"
	"runtime/debug"
)

// Share is the part of the group's limit that Go may use, in percent. The group also
// counts what the kernel keeps for the process: buffers of sockets, and pages of files.
const Share = 90

// Apply sets Go's soft memory limit to Share of the control group's, unless the
// environment has GOMEMLIMIT, which Go has read.
func Apply() {
	if _, chosen := os.LookupEnv("GOMEMLIMIT"); chosen {
		return
	}
	if limit, ok := ofGroup(os.DirFS("/")); ok {
		debug.SetMemoryLimit(limit / 100 * Share)
	}
}

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
