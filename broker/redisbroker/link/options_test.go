package link

import (
	"testing"

	"github.com/pushcart/pushcart/config"
)

// A URL brings credentials and a database; how commands are sent is ours to say.
func TestOptions_AreOurs(t *testing.T) {
	o, _, err := newOptions(config.Redis{Addresses: []string{
		"redis://user:secret@127.0.0.1:1/7?max_retries=3&read_timeout=1h&pool_size=100&min_idle_conns=5&dial_timeout=1h",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if o.DB != 7 || o.Username != "user" || o.Password != "secret" {
		t.Errorf("got database %d, user %q", o.DB, o.Username)
	}
	// A command that is repeated by itself would deliver twice.
	if o.MaxRetries != -1 || o.ReadTimeout != commandTimeout || o.DialTimeout != commandTimeout || !o.ContextTimeoutEnabled ||
		o.PoolSize != 1 || o.PipelinePoolSize != -1 || o.MinIdleConns != 0 || o.DialerRetries != 1 {
		t.Errorf("got %+v", o)
	}
}
