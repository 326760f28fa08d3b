// Package memlimit gives Go's garbage collector the memory limit of the process's
// control group, as containers, systemd's MemoryMax and Kubernetes' limits.memory set
// it: Go reads the group's CPU limit by itself, and not this one.
//
// It changes the whole process, once, from main; nothing else here does.
package memlimit
