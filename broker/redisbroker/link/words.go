package link

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"

	"github.com/redis/go-redis/v9"
)

// words are what commands and scripts say in standalone Redis, with what they say in
// Cluster: there messages stay on the servers of their slot (SPUBLISH), or each would go to
// every server. Everybody writes PUBLISH, in scripts as 'PUBLISH'.
type words struct {
	scripts []string          // sources, as they are loaded
	by      map[string]string // the names and sources of scripts, and those of what is loaded in their place
}

func shardedWords(scripts []string) *words {
	w := &words{by: map[string]string{"publish": "spublish"}}
	for _, source := range scripts {
		sharded := strings.ReplaceAll(source, "'PUBLISH'", "'SPUBLISH'")
		w.scripts = append(w.scripts, sharded)
		w.by[source] = sharded
		w.by[scriptName(source)] = scriptName(sharded)
	}
	return w
}

// scriptName is what Redis calls a script.
func scriptName(source string) string {
	sum := sha1.Sum([]byte(source))
	return hex.EncodeToString(sum[:])
}

// put puts the words of Cluster into a command.
func (w *words) put(c redis.Cmder) {
	args := c.Args()
	at := 0
	if name, _ := args[0].(string); name == "evalsha" || name == "eval" {
		at = 1
	}
	if text, ok := args[at].(string); ok {
		if other, ok := w.by[text]; ok {
			args[at] = other
		}
	}
}
