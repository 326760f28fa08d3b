package auth

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/pushcart/pushcart/internal/names"
)

var (
	errNoUser  = errors.New("is missing")
	errNotUser = errors.New("is neither a string nor a whole number")
)

// userValue reads a user_id from JSON: a string, or a whole number as its decimal
// text, however large.
func userValue(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", errNoUser
	}
	var s string
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &s); err != nil {
			return "", errNotUser
		}
	} else {
		var n json.Number
		if err := json.Unmarshal(raw, &n); err != nil || strings.ContainsAny(n.String(), ".eE") {
			return "", errNotUser
		}
		s = n.String()
	}
	return s, names.CheckUser(s)
}

// pointer finds a value by a JSON pointer (RFC 6901); nil: not there.
func pointer(doc json.RawMessage, path string) json.RawMessage {
	if path == "" {
		return doc
	}
	for token := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		doc = child(doc, token)
		if doc == nil {
			return nil
		}
	}
	return doc
}

func child(doc json.RawMessage, token string) json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(doc, &object) == nil {
		return object[token]
	}
	var list []json.RawMessage
	if json.Unmarshal(doc, &list) != nil || token == "" || len(token) > 1 && token[0] == '0' {
		return nil
	}
	index := 0
	for i := range len(token) {
		if token[i] < '0' || token[i] > '9' || index > len(list) {
			return nil
		}
		index = index*10 + int(token[i]-'0')
	}
	if index >= len(list) {
		return nil
	}
	return list[index]
}
