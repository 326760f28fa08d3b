// Package redisurl reads addresses of Redis as redis.addresses has them.
package redisurl
