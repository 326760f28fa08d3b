package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pushcart/pushcart/internal/names"
	"github.com/pushcart/pushcart/internal/strictjson"
)

var errNotTime = errors.New("is neither RFC 3339 nor seconds since 1970")

// parseConnectAnswer reads SPEC §5's body of a 200. Its members are matched by
// their exact names, and none may be there twice: they decide who comes in, as
// whom. A null is as if absent.
func parseConnectAnswer(body []byte) (c ConnectAnswer, err error) {
	all, err := strictjson.Object(strictjson.TrimBOM(body))
	if err != nil {
		return ConnectAnswer{}, err
	}
	for _, member := range [...]struct {
		name string
		read func(json.RawMessage) error
	}{
		{"user_id", c.readUser}, {"channels", c.readChannels}, {"expires_at", c.readExpiry},
		{"subprotocol", func(raw json.RawMessage) (err error) { c.Subprotocol, err = strictjson.Text(raw); return err }},
		{"info", func(raw json.RawMessage) error { c.Info = raw; return nil }},
		{"state", func(raw json.RawMessage) error { c.State = raw; return nil }},
		{"messages", func(raw json.RawMessage) error { return json.Unmarshal(raw, &c.Messages) }},
	} {
		if raw := all[member.name]; !strictjson.Null(raw) {
			if err := member.read(raw); err != nil {
				return ConnectAnswer{}, fmt.Errorf("%s %w", member.name, err)
			}
		}
		delete(all, member.name)
	}
	for name := range all {
		c.unknown = max(c.unknown, name)
	}
	return c, nil
}

func (c *ConnectAnswer) readUser(raw json.RawMessage) error {
	user, err := strictjson.Text(raw)
	if err == nil && user != "" { // "": nobody in particular
		err = names.CheckUser(user)
	}
	c.UserID = &user
	return err
}

func (c *ConnectAnswer) readChannels(raw json.RawMessage) (err error) {
	if c.Channels, err = strictjson.Texts(raw); err != nil {
		return err
	}
	for _, ch := range c.Channels {
		if err := names.CheckUser(ch); err != nil { // patterns are grants
			return fmt.Errorf("has a bad name, which %w", err)
		}
	}
	return nil
}

// readExpiry takes RFC 3339, or seconds since 1970 as exp is written.
func (c *ConnectAnswer) readExpiry(raw json.RawMessage) error {
	var at time.Time
	var err error
	if raw[0] == '"' {
		err = json.Unmarshal(raw, &at)
	} else {
		at, err = strictjson.Seconds(raw)
	}
	if err != nil {
		return errNotTime
	}
	c.ExpiresAt = &at
	return nil
}
