// Package hostport reads host:port as it stands in addresses, URLs and Host headers.
package hostport
