// Package record is what brokers know of a stream beside its messages, and the rules by
// which somebody goes on from a position (SPEC §8).
package record
