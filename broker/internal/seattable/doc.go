// Package seattable is the seats that the connections of one node have: all there are
// where it is alone, and what decides while Redis is away.
package seattable
