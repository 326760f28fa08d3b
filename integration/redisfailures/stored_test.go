package redisfailures

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testdocs"
	"github.com/pushcart/pushcart/internal/testkit"
)

// stored are the tables of docs/redis.md.
type stored struct {
	keys, channels []pattern
	met            map[string]bool // keys of the table that were found
}

// pattern is how a key or a channel of a row is called, and the type of the key.
type pattern struct {
	text, kind string
	name       *regexp.Regexp
	forever    bool
}

func readStored(t *testing.T) *stored {
	t.Helper()
	s := &stored{met: map[string]bool{}}
	code, word := regexp.MustCompile("`([^`]+)`"), regexp.MustCompile(`\b[A-Z]+\b`)
	for _, row := range testdocs.Parse("", testdocs.Read(t, "docs/redis.md").Section("What is stored")).Rows() {
		kinds := strings.Split(row[1], ", ")
		for i, name := range code.FindAllStringSubmatch(row[0], -1) {
			p := pattern{text: name[1], kind: kinds[min(i, len(kinds)-1)]}
			rest := strings.NewReplacer("PREFIX", "pushcart", "{TAG}", `\{\w+\}`, "{0ai}", `\{0ai\}`, "DB", "0").Replace(name[1])
			p.name = regexp.MustCompile("^" + word.ReplaceAllString(rest, ".+") + "$")
			if strings.HasPrefix(name[1], "PREFIX:DB:") {
				s.channels = append(s.channels, p)
				continue
			}
			p.forever = row[3] == "does not expire"
			s.keys = append(s.keys, p)
		}
	}
	if len(s.keys) < 15 || len(s.channels) < 7 {
		t.Fatalf("docs/redis.md has %d keys and %d channels", len(s.keys), len(s.channels))
	}
	return s
}

// look holds what is in Redis to the tables: names, types, and that it expires.
func (s *stored) look(t *testing.T, server *redistest.Server) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: server.Addr, DisableIdentity: true})
	defer c.Close()
	ctx := context.Background()
	for keys := c.Scan(ctx, 0, "*", 1000).Iterator(); keys.Next(ctx); {
		key := keys.Val()
		i := slices.IndexFunc(s.keys, func(p pattern) bool { return p.name.MatchString(key) })
		if i < 0 {
			t.Errorf("docs/redis.md does not have %s", key)
			continue
		}
		kind := c.Type(ctx, key).Val()
		expires := func() bool { return c.PTTL(ctx, key).Val() != -1 } // some with the next beat only
		switch p := s.keys[i]; {
		case kind == "none": // it is gone by now
		case kind != map[string]string{"sorted set": "zset"}[p.kind] && kind != p.kind:
			t.Errorf("%s is a %s, docs/redis.md says %s", key, kind, p.kind)
		case !p.forever && !testkit.Until(expires):
			t.Errorf("%s does not expire", key)
		default:
			s.met[p.text] = true
		}
	}
	for channel := range server.Subscribers(t) {
		if !slices.ContainsFunc(s.channels, func(p pattern) bool { return p.name.MatchString(channel) }) {
			t.Errorf("docs/redis.md does not have the channel %s", channel)
		}
	}
}

// complete: each key of the tables was there, but for those that are read at once.
func (s *stored) complete(t *testing.T) {
	t.Helper()
	for _, p := range s.keys {
		if !s.met[p.text] && !strings.Contains(p.text, "seats:lost") {
			t.Errorf("docs/redis.md has %s, which was never found", p.text)
		}
	}
}
