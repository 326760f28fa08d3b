package config

import (
	"fmt"
	"testing"
)

func TestWords_AreThoseThatTheChecksTake(t *testing.T) {
	got := Words()
	for key, want := range map[string][]string{
		"log.level":                {"debug", "info", "warn", "error"},
		"limits.per_user_policy":   {PolicyReject, PolicyReplace},
		"webhook.on_error.connect": {Deny, Allow},
		"auth.jwt.algorithms":      algorithms,
		"webhook.events":           append(eventNames[:len(eventNames):len(eventNames)], "*"),
		"listen":                   nil,
	} {
		if fmt.Sprint(got[key]) != fmt.Sprint(want) {
			t.Errorf("%s: got %q, want %q", key, got[key], want)
		}
	}
}
