package link

import (
	"errors"
	"testing"
)

// answered is an error as a server answers it.
type answered string

func (a answered) Error() string { return string(a) }
func (answered) RedisError()     {}

// go-redis cuts "ERR " off before it compares, so that a prefix with it never matched.
func TestAnswers_ThatBeginWithERRAreTold(t *testing.T) {
	for text, want := range map[answered]bool{
		"ERR unknown command 'INFO', with args beginning with: ":     true,
		"NOPERM User x has no permissions to run the 'info' command": true,
		"ERR syntax error": false,
	} {
		if got := forbidden(text); got != want {
			t.Errorf("%s: forbidden %v", text, got)
		}
	}
	if forbidden(errors.New("unknown command")) {
		t.Error("forbidden without an answer")
	}
	for text, want := range map[answered]bool{
		"ERR Script attempted to access a non local key in a cluster node script: 1": true,
		"TRYAGAIN Multiple keys request during rehashing of slot":                    true,
		"ERR Script attempted to access keys that do not hash to the same slot":      false,
	} {
		if _, got := redirectionOf(text); got != want {
			t.Errorf("%s: repeated %v", text, got)
		}
	}
}
