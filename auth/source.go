package auth

import (
	"net/url"
	"strings"
)

// FindToken looks where auth.jwt.sources say, in their order.
func (a *Authenticator) FindToken(h Handshake) (token string, found bool) {
	for _, source := range a.jwt.Sources {
		kind, name, _ := strings.Cut(source, ":")
		switch kind {
		case "header":
			token, found = first(h.Lines("Authorization"), bearer)
		case "query":
			token, found = queryValue(h.Query, name)
		case "cookie":
			token, found = first(h.Lines("Cookie"), func(line string) (string, bool) { return cookie(line, name) })
		case "protocol":
			token, found = protocol(h.Protocols)
		}
		if found {
			return token, true
		}
	}
	return "", false
}

// first looks for a token in each line of a header: HTTP/2 front ends split Cookie
// (RFC 9113 §8.2.3).
func first(lines []string, find func(line string) (string, bool)) (token string, found bool) {
	for _, line := range lines {
		if token, found = find(line); found {
			break
		}
	}
	return token, found
}

func bearer(header string) (string, bool) {
	scheme, token, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(token), true
}

func queryValue(query, name string) (string, bool) {
	for part := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(part, "=")
		if k, err := url.QueryUnescape(key); err != nil || k != name {
			continue
		}
		if v, err := url.QueryUnescape(value); err == nil {
			return v, true
		}
		return value, true // present and bad
	}
	return "", false
}

// cookie reads the Cookie header as RFC 6265 §5.4 writes it.
func cookie(header, name string) (string, bool) {
	for part := range strings.SplitSeq(header, ";") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if ok && key == name {
			return strings.Trim(value, `"`), true
		}
	}
	return "", false
}

func protocol(offered []string) (string, bool) {
	for _, p := range offered {
		if token, ok := strings.CutPrefix(p, "bearer."); ok {
			return token, true
		}
	}
	return "", false
}
