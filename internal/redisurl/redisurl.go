package redisurl

import (
	"errors"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// defaultPort is that of a URL without one.
const defaultPort = "6379"

// Address is where a server listens, and what the address says besides.
type Address struct {
	// Addr is host:port, or the absolute path of a unix socket.
	Addr string
	// TLS: the address is a rediss:// URL.
	TLS bool
	// Username and Password are "" if the address has none.
	Username, Password string
	// Database is the number to SELECT.
	Database int
}

// IsSocket says whether an Addr is the path of a unix socket.
func IsSocket(addr string) bool { return strings.HasPrefix(addr, "/") }

// IsURL says whether an address is to be a URL, rather than host:port.
func IsURL(s string) bool { return strings.Contains(s, "://") || strings.HasPrefix(s, "unix:") }

// Parse reads host:port, redis://, rediss:// or unix: URLs:
//
//	[::1]:6379
//	redis://user:password@host:6379/2
//	unix:/run/redis/redis.sock
//	unix://user:password@/run/redis/redis.sock?db=2
//
// Its errors say what is wanted, and repeat nothing of s, which may have a password.
func Parse(s string) (Address, error) {
	if !IsURL(s) {
		return Address{Addr: s}, checkHostPort(s)
	}
	u, err := url.Parse(s)
	if err != nil {
		return Address{}, errURL
	}
	a := Address{TLS: u.Scheme == "rediss", Username: u.User.Username()}
	a.Password, _ = u.User.Password()
	switch u.Scheme {
	case "redis", "rediss":
		err = a.host(u)
	case "unix":
		err = a.socket(u)
	default:
		err = errURL
	}
	return a, err
}

var (
	errHostPort = errors.New("want host:port")
	errBrackets = errors.New("want the brackets of an IPv6 address, like [::1]:6379")
	errURL      = errors.New("want host:port, a redis:// or rediss:// URL or unix:/path; a /, ? or # in its password is written %2F, %3F, %23")
	errPort     = errors.New("want a port from 1 to 65535 after the host")
	errDatabase = errors.New("want a database number after the host, like redis://host:6379/0")
	errOptions  = errors.New("options after ? are not supported; set them as keys of redis")
	errPath     = errors.New("want the absolute path of a socket, like unix:/run/redis/redis.sock or unix://user:password@/run/redis/redis.sock")
	errSocketDB = errors.New("the only option after ? is the database, like unix:/run/redis/redis.sock?db=2")
)

func checkHostPort(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err == nil && port != "" {
		_, err = net.LookupPort("tcp", port)
	}
	switch {
	case err != nil && strings.Count(s, ":") > 1 && !strings.ContainsAny(s, "[]"):
		return errBrackets
	case err != nil || port == "":
		return errHostPort
	}
	return nil
}

var databasePath = regexp.MustCompile(`^(/\d{0,5})?$`)

func (a *Address) host(u *url.URL) error {
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	number, err := strconv.Atoi(port)
	a.Addr = net.JoinHostPort(u.Hostname(), port)
	switch {
	case u.Host == "" || u.Opaque != "":
		return errURL
	case strings.Contains(u.Hostname(), ":") && !strings.HasPrefix(u.Host, "["):
		return errBrackets
	case err != nil || number < 1 || number > 65535:
		return errPort
	case !databasePath.MatchString(u.Path):
		return errDatabase
	case u.RawQuery != "" || u.Fragment != "":
		return errOptions
	}
	a.Database, _ = strconv.Atoi(strings.TrimPrefix(u.Path, "/"))
	return nil
}

func (a *Address) socket(u *url.URL) error {
	a.Addr = u.Path
	if u.Host != "" || len(u.Path) < 2 || !IsSocket(u.Path) {
		return errPath
	}
	q, err := url.ParseQuery(u.RawQuery)
	db := q.Get("db")
	q.Del("db")
	if err != nil || len(q) > 0 || u.Fragment != "" || !databasePath.MatchString("/"+db) {
		return errSocketDB
	}
	a.Database, _ = strconv.Atoi(db)
	return nil
}
