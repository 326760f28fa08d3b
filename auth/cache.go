package auth

import (
	"crypto/sha256"
	"sync"
)

// maxCached bounds the verified tokens that are remembered; a browser that comes
// back brings the same one.
const maxCached = 20_000

// tokenCache remembers which tokens' signatures are good, until the keys change.
// Their claims are read anew: that costs little beside the signature, and to keep
// them would cost as much memory as the connection that came with the token.
type tokenCache struct {
	mu   sync.Mutex // guards all below
	good map[[sha256.Size]byte]struct{}
	keys uint64 // counts the changes of keys
}

func newTokenCache() *tokenCache {
	return &tokenCache{good: map[[sha256.Size]byte]struct{}{}}
}

func (c *tokenCache) has(token string) bool {
	sum := sha256.Sum256([]byte(token))
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.good[sum]
	return ok
}

func (c *tokenCache) version() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys
}

// put remembers what was verified with the keys of the given version. A full
// cache drops any other token.
func (c *tokenCache) put(token string, version uint64) {
	sum := sha256.Sum256([]byte(token))
	c.mu.Lock()
	defer c.mu.Unlock()
	if version != c.keys {
		return
	}
	if len(c.good) >= maxCached {
		for k := range c.good {
			delete(c.good, k)
			break
		}
	}
	c.good[sum] = struct{}{}
}

// empty forgets all: the keys changed.
func (c *tokenCache) empty() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys++
	clear(c.good)
}
