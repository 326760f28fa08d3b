package auth

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/pushcart/pushcart/internal/names"
	"github.com/pushcart/pushcart/internal/strictjson"
)

var errNoUser = errors.New("is missing")

// userValue reads a user_id from JSON: a string, or a whole number as its decimal
// text, however large.
func userValue(raw json.RawMessage) (string, error) {
	if strictjson.Null(raw) {
		return "", errNoUser
	}
	s, err := strictjson.Text(raw)
	if err != nil {
		return "", err
	}
	return s, names.CheckUser(s)
}

// userAt reads the user_id that a JSON pointer names in a document.
func userAt(doc []byte, path string) (string, error) {
	raw, err := pointer(strictjson.TrimBOM(doc), path)
	if err != nil {
		return "", err
	}
	return userValue(raw)
}

// pointer finds a value by a JSON pointer (RFC 6901); nil: not there. An object on
// the way that has a name twice is an error, as it could mean either.
func pointer(doc json.RawMessage, path string) (json.RawMessage, error) {
	if path == "" {
		return doc, nil
	}
	for token := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		object, err := strictjson.Object(doc)
		switch {
		case err == nil:
			doc = object[token]
		case errors.Is(err, strictjson.ErrTwice):
			return nil, err
		default:
			doc = item(doc, token)
		}
		if doc == nil {
			return nil, nil
		}
	}
	return doc, nil
}

// item finds a list's item; nil: not there, or no list.
func item(doc json.RawMessage, token string) json.RawMessage {
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
