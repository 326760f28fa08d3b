// Package traceparent reads and begins W3C trace contexts
// (https://www.w3.org/TR/trace-context/). It is pure functions over values.
package traceparent
