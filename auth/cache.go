package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

// maxCached bounds the verified tokens that are remembered; a browser that comes
// back brings the same one.
const maxCached = 20_000

// tokenCache remembers verified tokens until they expire or the keys change.
type tokenCache struct {
	mu   sync.Mutex // guards all below
	ids  map[[sha256.Size]byte]Identity
	keys uint64 // counts the changes of keys
}

func newTokenCache() *tokenCache {
	return &tokenCache{ids: map[[sha256.Size]byte]Identity{}}
}

func (c *tokenCache) get(token string, now time.Time) (Identity, bool) {
	sum := sha256.Sum256([]byte(token))
	c.mu.Lock()
	defer c.mu.Unlock()
	id, ok := c.ids[sum]
	if ok && !id.ExpiresAt.IsZero() && !now.Before(id.ExpiresAt) {
		delete(c.ids, sum)
		return Identity{}, false
	}
	return id, ok
}

func (c *tokenCache) version() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys
}

// put remembers what was verified with the keys of the given version. A full
// cache drops any other token.
func (c *tokenCache) put(token string, id Identity, version uint64) {
	sum := sha256.Sum256([]byte(token))
	c.mu.Lock()
	defer c.mu.Unlock()
	if version != c.keys {
		return
	}
	if len(c.ids) >= maxCached {
		for k := range c.ids {
			delete(c.ids, k)
			break
		}
	}
	c.ids[sum] = id
}

// empty forgets all: the keys changed.
func (c *tokenCache) empty() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys++
	clear(c.ids)
}
