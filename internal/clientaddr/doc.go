// Package clientaddr finds a client's address behind proxies
// (SPEC §3 trusted_proxies, §4.1). It is pure functions over values.
package clientaddr
