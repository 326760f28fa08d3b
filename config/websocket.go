package config

import "time"

// WebSocket says which paths end at the sidecar and how connections live.
type WebSocket struct {
	// Paths end at the sidecar when a request upgrades to WebSocket: exact, or a
	// prefix written "/rt/*". Default ["/_push"].
	Paths []string `yaml:"paths"`
	// AllowedOrigins are what the Origin header may be: "https://app.example.com",
	// "https://*.example.com", "*", "null". Empty, the default: its host must
	// equal Host.
	AllowedOrigins []string `yaml:"allowed_origins"`
	// PingInterval is the time between two pings of a connection. Default 25s.
	PingInterval time.Duration `yaml:"ping_interval"`
	// PongTimeout is how long to wait for a sign of life after a ping. Must be
	// shorter than PingInterval. Default 10s.
	PongTimeout time.Duration `yaml:"pong_timeout"`
	// HandshakeTimeout bounds a handshake, credentials included. Default 10s.
	HandshakeTimeout time.Duration `yaml:"handshake_timeout"`
	// MaxMessageSize bounds a client's message, after inflating. Default 64KiB.
	MaxMessageSize Size `yaml:"max_message_size"`
	// InboundTotal bounds the messages of all connections: those that are unfinished and
	// those that the backend has yet to answer. When those waiting for an answer take
	// half of it, no further messages are read; past all of it the connection with the
	// largest unfinished one is closed with 1009. Default 128MiB.
	InboundTotal Size `yaml:"inbound_total"`
	// Subprotocols are more names to accept, select and treat as raw.
	Subprotocols []string `yaml:"subprotocols"`
	// RequestsInFlight is how many requests of one pushcart.json.v1 connection may wait
	// for their answers; at the limit it is not read. Default 16.
	RequestsInFlight int `yaml:"requests_in_flight"`
	// Compression accepts permessage-deflate without context takeover (RFC 7692).
	// Default false.
	Compression bool `yaml:"compression"`
	// Outbox bounds what waits for slow clients.
	Outbox Outbox `yaml:"outbox"`
}

// Outbox bounds the frames that wait for a connection that does not read fast
// enough.
type Outbox struct {
	// Messages is the bound per connection. Default 256.
	Messages int `yaml:"messages"`
	// Bytes is the bound per connection. Default 1MiB.
	Bytes Size `yaml:"bytes"`
	// Total is the bound for all connections; past it the connection with the largest
	// outbox is closed with 4000. Default 512MiB.
	Total Size `yaml:"total"`
}
