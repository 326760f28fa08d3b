// Package names checks the names that clients and backends give to users and
// channels (SPEC §11 Names). It is pure functions.
package names
