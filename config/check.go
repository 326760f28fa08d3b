package config

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/pushcart/pushcart/internal/nearest"
)

// check finds what is wrong with the values, each by itself and together. It
// only reads.
func (c *Config) check(p *Problems) {
	c.checkListeners(p)
	c.checkBackend(p)
	c.checkClient(p)
	c.checkWebSocket(p)
	c.checkJWT(p)
	c.checkForward(p)
	c.checkHistory(p)
	c.checkPresence(p)
	c.checkRights(p)
	c.checkWebhook(p)
	c.checkRedis(p)
	c.checkRest(p)
	c.checkBounds(p)
}

func (c *Config) checkListeners(p *Problems) {
	checkAddress(p, "listen", c.Listen)
	checkAddress(p, "admin.listen", c.Admin.Listen)
	c.Push.check(p)
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		p.add("tls", "cert_file and key_file go together")
	}
	checkTokens(p, "admin.tokens", c.Admin.Tokens)
}

func (c *Config) checkBackend(p *Problems) {
	b := c.Backend
	switch u, err := url.Parse(b.URL); {
	case b.URL == "":
		p.add("backend.url", "is required: the app's address, like http://127.0.0.1:3000")
	case strings.HasPrefix(b.URL, "unix:"):
		if b.URL == "unix:" {
			p.add("backend.url", "unix: without a path")
		}
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		p.add("backend.url", "want http://, https:// or unix:, got %q%s", b.URL, hint(backendMeant(b.URL)))
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil || u.Fragment != "":
		p.add("backend.url", "want no path, query or user, got %q", b.URL)
	}
	duration(p, "backend.connect_timeout", b.ConnectTimeout)
	duration(p, "backend.response_timeout", b.ResponseTimeout)
	duration(p, "backend.idle_timeout", b.IdleTimeout)
	positive(p, "backend.max_connections", int64(b.MaxConnections))
	notNegative(p, "backend.max_streams", float64(b.MaxStreams))
}

// backendMeant is what host:port, a port alone or a path means.
func backendMeant(s string) string {
	switch _, port, err := net.SplitHostPort(s); {
	case strings.HasPrefix(s, "/"):
		return "unix:" + s
	case number.MatchString(s):
		return "http://127.0.0.1:" + s
	case err == nil && number.MatchString(port):
		return "http://" + s
	}
	return ""
}

func (c *Config) checkClient(p *Problems) {
	duration(p, "client.head_timeout", c.Client.HeadTimeout)
	duration(p, "client.body_timeout", c.Client.BodyTimeout)
	duration(p, "client.send_timeout", c.Client.SendTimeout)
	duration(p, "client.idle_timeout", c.Client.IdleTimeout)
	notNegative(p, "client.max_connections", float64(c.Client.MaxConnections))
}

func (c *Config) checkWebSocket(p *Problems) {
	w := c.WebSocket
	for i, path := range w.Paths {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?# ") || strings.Contains(strings.TrimSuffix(path, "/*"), "*") {
			p.add(item("websocket.paths", i), `want a path like "/_push" or "/rt/*", got %q`, path)
		}
	}
	for i, o := range w.AllowedOrigins {
		if !goodOrigin(o) {
			p.add(item("websocket.allowed_origins", i),
				`want "https://app.example.com", "https://*.example.com", "file://", "app://name", "null" or "*", got %q%s`, o, hint(originMeant(o)))
		}
	}
	for i, s := range w.Subprotocols {
		if !token(s) || strings.HasPrefix(s, "pushcart.") || strings.HasPrefix(s, "bearer.") {
			p.add(item("websocket.subprotocols", i), "want a name of your own, got %q", s)
		}
	}
	duration(p, "websocket.ping_interval", w.PingInterval)
	duration(p, "websocket.pong_timeout", w.PongTimeout)
	duration(p, "websocket.handshake_timeout", w.HandshakeTimeout)
	if w.PongTimeout >= w.PingInterval {
		p.add("websocket.pong_timeout", "%v must be shorter than ping_interval (%v)", w.PongTimeout, w.PingInterval)
	}
	positive(p, "websocket.max_message_size", int64(w.MaxMessageSize))
	positive(p, "websocket.inbound_total", int64(w.InboundTotal))
	if w.MaxMessageSize > w.InboundTotal {
		p.add("websocket.max_message_size", "%v is more than inbound_total (%v)", w.MaxMessageSize, w.InboundTotal)
	}
	positive(p, "websocket.requests_in_flight", int64(w.RequestsInFlight))
	positive(p, "websocket.outbox.messages", int64(w.Outbox.Messages))
	positive(p, "websocket.outbox.bytes", int64(w.Outbox.Bytes))
	positive(p, "websocket.outbox.total", int64(w.Outbox.Total))
}

var algorithms = []string{
	"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

// minSecret is what an HMAC secret must have at least, in bytes (SPEC §11).
const minSecret = 32

func (c *Config) checkJWT(p *Problems) {
	j := c.Auth.JWT
	public := j.PublicKeyFile != "" || j.JWKSURL != ""
	if j.Secret != "" && len(j.Secret) < minSecret {
		p.add("auth.jwt.secret", "has %d bytes; an HMAC secret needs at least %d", len(j.Secret), minSecret)
	}
	if public && len(j.Algorithms) == 0 {
		p.add("auth.jwt.algorithms", "is required with public keys, like [RS256]")
	}
	for i, a := range j.Algorithms {
		switch hmac := strings.HasPrefix(a, "HS"); {
		case !slices.Contains(algorithms, a):
			p.addWord(item("auth.jwt.algorithms", i), algorithms, "want one of %s, got %q%s", strings.Join(algorithms, ", "), a, hint(nearest.Word(a, algorithms)))
		case hmac && j.Secret == "" && !p.unread("auth.jwt.secret"):
			p.add(item("auth.jwt.algorithms", i), "%s needs auth.jwt.secret", a)
		case !hmac && !public && !p.unread("auth.jwt.jwks_url") && !p.unread("auth.jwt.public_key_file"):
			p.add(item("auth.jwt.algorithms", i), "%s needs auth.jwt.public_key_file or jwks_url", a)
		}
	}
	checkURL(p, "auth.jwt.jwks_url", j.JWKSURL)
	notNegative(p, "auth.jwt.leeway", float64(j.Leeway))
	if j.UserClaim == "" {
		p.add("auth.jwt.user_claim", "must not be empty")
	}
	for i, s := range j.Sources {
		kind, name, named := strings.Cut(s, ":")
		if s != "header" && s != "protocol" && (kind != "query" && kind != "cookie" || !named || name == "") {
			p.add(item("auth.jwt.sources", i), `want header, "query:NAME", "cookie:NAME" or protocol, got %q`, s)
		}
	}
}

func (c *Config) checkForward(p *Problems) {
	f := c.Auth.Forward
	checkAsked(p, "auth.forward.url", f.URL)
	checkHost(p, "auth.forward.host", f.Host)
	checkHeaders(p, "auth.forward.headers", f.Headers)
	duration(p, "auth.forward.timeout", f.Timeout)
	name, header := strings.CutPrefix(f.User, "header:")
	switch {
	case f.URL != "" && f.User == "":
		p.add("auth.forward.user", "is required with auth.forward.url")
	case header && !token(name), !header && f.User != "" && !strings.HasPrefix(f.User, "/"):
		p.add("auth.forward.user", `want a JSON pointer like "/user/id" or "header:X-User-Id", got %q`, f.User)
	}
}

func (c *Config) checkRest(p *Problems) {
	l := c.Limits
	notNegative(p, "limits.connections", float64(l.Connections))
	notNegative(p, "limits.connections_per_ip", float64(l.ConnectionsPerIP))
	notNegative(p, "limits.connections_per_user", float64(l.ConnectionsPerUser))
	notNegative(p, "limits.connect_rate_per_ip", l.ConnectRatePerIP)
	notNegative(p, "limits.message_rate", l.MessageRate)
	notNegative(p, "limits.channels_per_connection", float64(l.ChannelsPerConnection))
	oneOf(p, "limits.per_user_policy", l.PerUserPolicy, PolicyReject, PolicyReplace)
	notNegative(p, "shutdown.delay", float64(c.Shutdown.Delay))
	notNegative(p, "shutdown.drain", float64(c.Shutdown.Drain))
	oneOf(p, "log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf(p, "log.format", c.Log.Format, "text", "json")
	oneOf(p, "log.access", c.Log.Access, AccessOff, AccessErrors, AccessAll)
}
