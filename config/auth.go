package config

import "time"

// Auth lists the ways in (SPEC §4.1). Those configured are tried in this order: JWT,
// Forward, the connect webhook.
type Auth struct {
	// Anonymous lets a connection without credentials in as user "".
	Anonymous bool `yaml:"anonymous"`
	// JWT verifies a token of the handshake.
	JWT JWT `yaml:"jwt"`
	// Forward asks an endpoint that the backend already has.
	Forward Forward `yaml:"forward"`
}

// JWT verifies tokens. It is on when Secret, PublicKeyFile or JWKSURL is set.
type JWT struct {
	// Secret verifies HS256, HS384 and HS512; at least 32 bytes.
	Secret Secret `yaml:"secret"`
	// SecretFile holds Secret; a trailing newline is cut.
	SecretFile string `yaml:"secret_file"`
	// PublicKeyFile is a PEM file with a key for RS, PS, ES or EdDSA.
	PublicKeyFile string `yaml:"public_key_file"`
	// JWKSURL is fetched at start and refreshed; the last good set is kept.
	JWKSURL string `yaml:"jwks_url"`
	// Algorithms are those accepted. Required with public keys; with Secret
	// alone, empty means HS256, HS384 and HS512.
	Algorithms []string `yaml:"algorithms"`
	// Issuer, if set, must equal iss.
	Issuer string `yaml:"issuer"`
	// Audience, if set, must be one of aud.
	Audience string `yaml:"audience"`
	// Leeway is the clock difference allowed for exp, nbf and iat. Default 30s.
	Leeway time.Duration `yaml:"leeway"`
	// UserClaim names the claim that is the user_id. Default sub.
	UserClaim string `yaml:"user_claim"`
	// ChannelsClaim names the claim with the channels that the connection is
	// subscribed to; names with a * are grants only. Default channels.
	ChannelsClaim string `yaml:"channels_claim"`
	// RequireExp refuses a token without exp. Default true.
	RequireExp bool `yaml:"require_exp"`
	// Sources are where a token may be, first one found wins: "header"
	// (Authorization: Bearer), "query:NAME", "cookie:NAME", "protocol"
	// (Sec-WebSocket-Protocol: bearer.TOKEN). Default [header,
	// query:access_token].
	Sources []string `yaml:"sources"`
}

// Enabled says whether any key is configured.
func (j JWT) Enabled() bool {
	return j.Secret != "" || j.PublicKeyFile != "" || j.JWKSURL != ""
}

// Forward asks the backend who the client is: a GET with some of the handshake's
// headers; 2xx with a usable user lets in.
type Forward struct {
	// URL is the endpoint, http:// or https://; a bare path ("/me") is a route of the
	// backend, reached over its socket and TLS settings. Empty: off.
	URL string `yaml:"url"`
	// Host is the Host header to send. Empty: the URL's, or for a bare path the
	// handshake's if backend.preserve_host is set. "preserve": the handshake's.
	Host string `yaml:"host"`
	// Headers are the handshake's headers to send, every line of each. Default Cookie,
	// Authorization, User-Agent, Accept-Language.
	Headers []string `yaml:"headers"`
	// User says where the response names the user: a JSON pointer ("/user/id")
	// or "header:X-User-Id". Required with URL.
	User string `yaml:"user"`
	// Timeout bounds the call. Default 5s.
	Timeout time.Duration `yaml:"timeout"`
}
