package redisurl_test

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/redisurl"
)

func TestParse_TakesEveryFormOfAnAddress(t *testing.T) {
	for in, want := range map[string]redisurl.Address{
		"redis:6379":                             {Addr: "redis:6379"},
		"[::1]:6379":                             {Addr: "[::1]:6379"},
		"10.0.0.1:7000":                          {Addr: "10.0.0.1:7000"},
		"redis://h":                              {Addr: "h:6379"},
		"redis://h:7000/2":                       {Addr: "h:7000", Database: 2},
		"redis://[::1]:6379/0":                   {Addr: "[::1]:6379"},
		"redis://[::1]":                          {Addr: "[::1]:6379"},
		"rediss://u:p@h/":                        {Addr: "h:6379", TLS: true, Username: "u", Password: "p"},
		"redis://u:a%2Fb%3Fc%23d%40@h:1/12":      {Addr: "h:1", Username: "u", Password: "a/b?c#d@", Database: 12},
		"redis://:p@h:1":                         {Addr: "h:1", Password: "p"},
		"unix:/run/redis/redis.sock":             {Addr: "/run/redis/redis.sock"},
		"unix:///run/redis/redis.sock":           {Addr: "/run/redis/redis.sock"},
		"unix:/run/redis.sock?db=3":              {Addr: "/run/redis.sock", Database: 3},
		"unix://u:p@/run/redis/redis.sock?db=12": {Addr: "/run/redis/redis.sock", Username: "u", Password: "p", Database: 12},
	} {
		if got, err := redisurl.Parse(in); got != want || err != nil {
			t.Errorf("%s: got %+v, %v", in, got, err)
		}
	}
}

func TestParse_SaysWhatIsWanted(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "want host:port",
		"redis":                    "want host:port",
		"h:":                       "want host:port",
		"h:99999":                  "want host:port",
		"::1:6379":                 "want the brackets of an IPv6 address",
		"::1":                      "want the brackets of an IPv6 address",
		"redis://::1:6379":         "want ",
		"redis://":                 "want host:port, a redis:// or rediss:// URL or unix:/path",
		"redis:///2":               "want host:port, a redis://",
		"redis://u:p/w@h:1":        "want ",
		"redis://h:0":              "want a port from 1 to 65535",
		"redis://h:99999":          "want a port from 1 to 65535",
		"redis://h/x":              "want a database number after the host",
		"redis://h/1/2":            "want a database number after the host",
		"redis://h?ssl=true":       "options after ? are not supported",
		"redis://h#1":              "options after ? are not supported",
		"http://h:1":               "want host:port, a redis://",
		"unix:":                    "want the absolute path of a socket",
		"unix:/":                   "want the absolute path of a socket",
		"unix:redis.sock":          "want the absolute path of a socket",
		"unix://run/redis.sock":    "want the absolute path of a socket",
		"unix:/r.sock?db=x":        "the only option after ? is the database",
		"unix:/r.sock?timeout=1":   "the only option after ? is the database",
		"unix:/r.sock?db=1&max=2":  "the only option after ? is the database",
		"unix:/r.sock?db=1;max=%z": "the only option after ? is the database",
	} {
		if _, err := redisurl.Parse(in); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", in, err, want)
		}
	}
}

// Whatever an address is: it can be dialed, or there is an error that repeats nothing.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"h:1", "[::1]:1", "redis://u:geheim@h:1/2", "rediss://h", "unix:/a", "unix://u:geheim@/a?db=1", "redis://u:geheim"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := redisurl.Parse(s)
		if err != nil {
			if strings.Contains(err.Error(), "geheim") {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if redisurl.IsSocket(a.Addr) {
			if !filepath.IsAbs(a.Addr) {
				t.Errorf("%q: got %q", s, a.Addr)
			}
		} else if _, _, err := net.SplitHostPort(a.Addr); err != nil {
			t.Errorf("%q: got %q: %v", s, a.Addr, err)
		}
		if a.Database < 0 || a.Database > 99999 {
			t.Errorf("%q: database %d", s, a.Database)
		}
	})
}
