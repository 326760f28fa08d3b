package config

import (
	"net/netip"
	"time"
)

// Config is the whole file. Each package takes its own section by value.
type Config struct {
	// Listen is the public listener's address, host:port. Default ":8080".
	Listen string `yaml:"listen"`
	// TLS terminates TLS on the public listener if both files are set.
	TLS TLS `yaml:"tls"`
	// Backend is the app behind the sidecar.
	Backend Backend `yaml:"backend"`
	// Client holds timeouts and bounds of the public listener.
	Client Client `yaml:"client"`
	// TrustedProxies are the networks whose X-Forwarded-* are trusted and extended; those
	// of others are replaced. Default none.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// WebSocket says which paths end at the sidecar and how connections live.
	WebSocket WebSocket `yaml:"websocket"`
	// Auth lists the ways in.
	Auth Auth `yaml:"auth"`
	// Channels are rules for channels: the first whose pattern fits a channel's name
	// applies. Default: one for all channels, which keeps nothing.
	Channels []ChannelRule `yaml:"channels"`
	// HistoryTotal bounds the history in memory, without Redis; past it the least
	// recently used stream is dropped. Default 256MiB.
	HistoryTotal Size `yaml:"history_total"`
	// Users are the rules for users.
	Users Users `yaml:"users"`
	// Push is the push API's listener.
	Push Push `yaml:"push"`
	// Webhook is where events go.
	Webhook Webhook `yaml:"webhook"`
	// Redis connects the nodes; without addresses there is one node, in memory.
	Redis Redis `yaml:"redis"`
	// Limits bound what clients may take.
	Limits Limits `yaml:"limits"`
	// Shutdown paces the shutdown of the process.
	Shutdown Shutdown `yaml:"shutdown"`
	// Admin is the listener for health, readiness and metrics.
	Admin Admin `yaml:"admin"`
	// Log is the process log, and the access log in it.
	Log Log `yaml:"log"`
}

// TLS names a certificate and its key, both PEM files. Both empty: plain HTTP.
type TLS struct {
	// CertFile is the certificate chain, leaf first.
	CertFile string `yaml:"cert_file"`
	// KeyFile is the private key.
	KeyFile string `yaml:"key_file"`
}

// Backend is the HTTP app behind the sidecar.
type Backend struct {
	// URL is http://host:port, https://host:port or unix:/path. Required.
	URL string `yaml:"url"`
	// ConnectTimeout bounds dialling, and waiting for a free connection.
	// Default 2s.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	// ResponseTimeout is how long the response head may take; a body may then
	// take as long as it needs. Default 60s.
	ResponseTimeout time.Duration `yaml:"response_timeout"`
	// IdleTimeout is how long a kept-alive connection to the backend stays
	// unused. Default 90s.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// MaxConnections bounds requests that wait for their response head; more wait up to
	// ConnectTimeout and then get 503. Tunnels and bodies in flight do not count. Default
	// 1024.
	MaxConnections int `yaml:"max_connections"`
	// MaxStreams bounds tunnels and bodies in flight; an upload beyond it counts for
	// MaxConnections instead. 0, the default: none.
	MaxStreams int `yaml:"max_streams"`
	// PreserveHost forwards the client's Host; false sends the backend's own.
	// Default true.
	PreserveHost bool `yaml:"preserve_host"`
	// Via adds "Via: 1.1 pushcart" to requests (RFC 9110 §7.6.3). nginx and IIS do not
	// compress responses to such requests. Default false.
	Via bool `yaml:"via"`
	// RequestID sends X-Request-Id with requests: a trusted front's, or else a new one,
	// in place of any other. Default false: X-Request-Id passes unchanged.
	RequestID bool `yaml:"request_id"`
	// TLS applies to https:// URLs.
	TLS BackendTLS `yaml:"tls"`
}

// BackendTLS says how an https:// backend is verified.
type BackendTLS struct {
	// CAFile is a PEM bundle trusted instead of the system's.
	CAFile string `yaml:"ca_file"`
	// ServerName is verified instead of the URL's host, and sent as SNI.
	ServerName string `yaml:"server_name"`
	// Insecure skips verification.
	Insecure bool `yaml:"insecure"`
}

// Client holds timeouts and bounds of the public listener.
type Client struct {
	// HeadTimeout bounds reading a request head. Default 10s.
	HeadTimeout time.Duration `yaml:"head_timeout"`
	// BodyTimeout bounds the time between two reads of a request body.
	// Default 60s.
	BodyTimeout time.Duration `yaml:"body_timeout"`
	// SendTimeout bounds the time between two writes to a client that does not
	// read. Default 60s.
	SendTimeout time.Duration `yaml:"send_timeout"`
	// IdleTimeout is how long a kept-alive connection stays unused. Default 75s.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// MaxConnections bounds all connections of the listener, WebSockets
	// included. 0, the default: 80 % of the file-descriptor limit.
	MaxConnections int `yaml:"max_connections"`
}

// Limits bound what clients may take. 0 means no limit except where said.
type Limits struct {
	// Connections bounds the node's WebSockets. 0, the default: 80 % of the
	// file-descriptor limit.
	Connections int `yaml:"connections"`
	// ConnectionsPerIP bounds the WebSockets of one address (IPv6: one /64).
	ConnectionsPerIP int `yaml:"connections_per_ip"`
	// ConnectionsPerUser bounds the WebSockets of one user across all nodes.
	ConnectionsPerUser int `yaml:"connections_per_user"`
	// PerUserPolicy is what happens at ConnectionsPerUser: reject the new one,
	// or replace the oldest. Default reject.
	PerUserPolicy string `yaml:"per_user_policy"`
	// ConnectRatePerIP is new connections per second of one address (IPv6: one
	// /64), with bursts to 10 times that.
	ConnectRatePerIP float64 `yaml:"connect_rate_per_ip"`
	// MessageRate is client messages per second and connection, with bursts to twice
	// that; past it the socket is read more slowly.
	MessageRate float64 `yaml:"message_rate"`
	// ChannelsPerConnection bounds subscriptions. Default 128.
	ChannelsPerConnection int `yaml:"channels_per_connection"`
}

// Values of Limits.PerUserPolicy.
const (
	PolicyReject  = "reject"
	PolicyReplace = "replace"
)

// Shutdown paces the shutdown of the process (SPEC §9).
type Shutdown struct {
	// Delay is how long readiness is false before handshakes are refused.
	// Default 0s.
	Delay time.Duration `yaml:"delay"`
	// Drain is the time over which connections are closed. Default 20s.
	Drain time.Duration `yaml:"drain"`
}

// Admin is the listener for health, readiness and metrics.
type Admin struct {
	// Listen is host:port. Default 127.0.0.1:8082.
	Listen string `yaml:"listen"`
	// Tokens are bearer tokens for everything but /healthz, /readyz, /metrics.
	Tokens []Secret `yaml:"tokens"`
	// TokensFile holds one token a line, added to Tokens.
	TokensFile string `yaml:"tokens_file"`
	// Hosts are names that the Host header may be besides IP literals and
	// localhost.
	Hosts []string `yaml:"hosts"`
	// Pprof serves /debug/pprof/. Default false.
	Pprof bool `yaml:"pprof"`
}

// Log is the process log, and the access log in it.
type Log struct {
	// Level is debug, info, warn or error. Default info.
	Level string `yaml:"level"`
	// Format is text or json. Default text.
	Format string `yaml:"format"`
	// Access writes a line for requests, handshakes and calls of the push API: off,
	// errors (a status of 400 or above, and what broke off) or all. Default off.
	Access string `yaml:"access"`
	// Query shows query strings in those lines, with the values of token parameters
	// hidden. Default false.
	Query bool `yaml:"query"`
}

// Values of Log.Access.
const (
	AccessOff    = "off"
	AccessErrors = "errors"
	AccessAll    = "all"
)
