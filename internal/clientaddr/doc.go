// Package clientaddr says who a client is when there may be proxies in front
// (SPEC §3 trusted_proxies, §4.1). It is pure functions over values.
package clientaddr
