package main

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/config"
)

var onlyPort = regexp.MustCompile(`^\d+$`)

// socketURL makes of what was asked for a ws:// or wss:// URL. What is left out is the
// configured node's.
func socketURL(asked string, cfg config.Config) (string, error) {
	scheme := "ws"
	if cfg.TLS.CertFile != "" {
		scheme = "wss"
	}
	switch {
	case asked == "", strings.HasPrefix(asked, "/"):
		asked = scheme + "://" + cli.Reachable(cfg.Listen) + asked
	case onlyPort.MatchString(asked):
		asked = "ws://127.0.0.1:" + asked
	case !strings.Contains(asked, "://"):
		asked = "ws://" + asked
	}
	u, err := url.Parse(asked)
	if err != nil || u.Hostname() == "" {
		return "", cli.Usagef("want a URL like ws://127.0.0.1:8080/_push, got %q", config.Redact(asked))
	}
	switch u.Scheme {
	case "http", "https":
		u.Scheme = "ws" + strings.TrimPrefix(u.Scheme, "http")
	case "ws", "wss":
	default:
		return "", cli.Usagef("want a ws:// or wss:// URL, got %s://", u.Scheme)
	}
	if u.User != nil {
		return "", cli.Usagef("a URL of a WebSocket has no user; give --header 'Authorization: …'")
	}
	if u.Path == "" && len(cfg.WebSocket.Paths) > 0 {
		u.Path = strings.TrimSuffix(cfg.WebSocket.Paths[0], "*") // /rt/* is a prefix
	}
	u.Fragment = ""
	return u.String(), nil
}

// withQuery adds a parameter and leaves the others as they are written.
func withQuery(to, name, value string) string {
	before := "?"
	if strings.Contains(to, "?") {
		before = "&"
	}
	return to + before + url.QueryEscape(name) + "=" + url.QueryEscape(value)
}
