package config

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pushcart/pushcart/internal/nearest"
)

// checkAddress wants host:port.
func checkAddress(p *Problems, path, addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "" {
		p.add(path, "want host:port, got %q%s", addr, addressMeant(path, addr))
		return false
	}
	return true
}

// addressMeant is what a port alone means; only the public listener is open to all
// by itself.
func addressMeant(path, addr string) string {
	host := "127.0.0.1"
	if path == "listen" {
		host = ""
	}
	if host, port, ok := bareIPv6(addr); ok {
		return hint(net.JoinHostPort(host, port))
	}
	if strings.HasPrefix(path, "redis.") && !strings.Contains(addr, ":") {
		return hint(net.JoinHostPort(addr, "6379"))
	}
	if number.MatchString(addr) {
		return hint(strconv.Quote(net.JoinHostPort(host, addr)))
	}
	return ""
}

// bareIPv6 is what an IPv6 address without its brackets, with a port behind it, stands for.
func bareIPv6(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || !strings.Contains(s[:i], "::") && strings.Count(s[:i], ":") < 7 {
		return "", "", false
	}
	_, err := netip.ParseAddr(s[:i])
	return s[:i], s[i+1:], err == nil && len(s[i+1:]) > 0
}

// hint ends a message with what was probably meant.
func hint(meant string) string {
	if meant == "" {
		return ""
	}
	return ": " + meant + "?"
}

func checkURL(p *Problems, path, s string) {
	if s == "" {
		return
	}
	if u, err := url.Parse(s); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		p.add(path, "want an http:// or https:// URL, got %q", s)
	}
}

// checkAsked wants a URL, or a path alone, which is asked at the backend itself.
func checkAsked(p *Problems, path, s string) {
	switch {
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }):
		p.add(path, "must not contain spaces, control characters or #, got %q", s)
	case s != "" && s[0] != '/' && !strings.Contains(s, "://"):
		p.add(path, "want an http:// or https:// URL, or a path of the backend, got %q: /%s?", s, s)
	case strings.HasPrefix(s, "//"):
		p.add(path, "want a URL with its scheme, or a path with one slash, got %q", s)
	case !strings.HasPrefix(s, "/"):
		checkURL(p, path, s)
	}
}

// checkHost wants what a Host header may be, or preserve.
func checkHost(p *Problems, path, s string) {
	if s == "" || s == "preserve" {
		return
	}
	if u, err := url.Parse("http://" + s); err != nil || u.Host != s {
		p.add(path, "want a name like app.example.com, or preserve, got %q", s)
	}
}

// checkHeaders wants names of headers.
func checkHeaders(p *Problems, path string, names []string) {
	for i, name := range names {
		if !token(name) {
			p.add(item(path, i), "want a header's name, got %q", name)
		}
	}
}

// item is the path of one list item.
func item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func oneOf(p *Problems, path, got string, want ...string) {
	if !slices.Contains(want, got) {
		p.addWord(path, want, "want %s, got %q%s", strings.Join(want, " or "), got, hint(nearest.Word(got, want)))
	}
}

func duration(p *Problems, path string, d time.Duration) {
	if d <= 0 {
		p.add(path, "must be more than 0, got %v", d)
	}
}

func positive(p *Problems, path string, n int64) {
	if n <= 0 {
		p.add(path, "must be more than 0, got %d", n)
	}
}

func notNegative(p *Problems, path string, n float64) {
	if !(n >= 0) { // NaN too
		p.add(path, "must not be negative")
	}
}

// token says whether s is one in the sense of RFC 9110 §5.6.2.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
