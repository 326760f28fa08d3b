package config

import (
	"net/url"
	"strings"
)

// goodOrigin says whether o can stand in websocket.allowed_origins: an origin as
// browsers write it, of any scheme. Outside the web it may have no host: file://.
func goodOrigin(o string) bool {
	if o == "*" || o == "null" {
		return true
	}
	u, err := url.Parse(strings.Replace(o, "://*.", "://", 1))
	if err != nil || u.Scheme == "" || !strings.Contains(o, "://") {
		return false
	}
	web := u.Scheme == "http" || u.Scheme == "https"
	bare := u.Path == "" && u.RawQuery == "" && u.Fragment == "" && u.User == nil
	return bare && !strings.ContainsAny(u.Host, "* ") && (u.Host != "" || !web && !strings.Contains(o, "*"))
}

// originMeant is a host alone, or a URL with a path, as an origin.
func originMeant(o string) string {
	for _, guess := range []string{strings.TrimRight(o, "/"), "https://" + o} {
		if o != "" && goodOrigin(guess) {
			return guess
		}
	}
	return ""
}
