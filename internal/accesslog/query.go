package accesslog

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
)

// hidden stands in the place of a token.
const hidden = "[redacted]"

// hide appends a query string without the values of the named parameters. It takes
// more for a token than auth does: a name in another case, or behind a semicolon, is
// nothing to us and may be to the app.
func hide(b, query []byte, names []string) []byte {
	for len(query) > 0 {
		end := bytes.IndexAny(query, "&;")
		if end < 0 {
			end = len(query)
		}
		pair := query[:end]
		if eq := bytes.IndexByte(pair, '='); eq >= 0 && named(pair[:eq], names) {
			b = append(append(b, pair[:eq+1]...), hidden...)
		} else {
			b = append(b, pair...)
		}
		if end < len(query) {
			b = append(b, query[end])
			end++
		}
		query = query[end:]
	}
	return b
}

func named(key []byte, names []string) bool {
	name := string(key)
	if decoded, err := url.QueryUnescape(name); err == nil {
		name = decoded
	}
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}
