package access

import (
	"io"
	"log/slog"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/ratelog"
)

func quiet() *ratelog.Logger { return ratelog.New(slog.New(slog.NewTextHandler(io.Discard, nil))) }

// A URL brings credentials and a database; how commands are sent is ours to say.
func TestOptions_AreOurs(t *testing.T) {
	o, _, err := Options(config.Redis{Addresses: []string{"redis://user:secret@127.0.0.1:1/7"}}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	user, password, err := o.CredentialsProviderContext(t.Context())
	if o.DB != 7 || user != "user" || password != "secret" || err != nil {
		t.Errorf("got database %d, user %q, %v", o.DB, user, err)
	}
	// A command that is repeated by itself would deliver twice.
	if o.MaxRetries != -1 || o.ReadTimeout != CommandTimeout || o.DialTimeout != CommandTimeout || !o.ContextTimeoutEnabled ||
		o.PoolSize != 1 || o.PipelinePoolSize != -1 || o.MinIdleConns != 0 || o.DialerRetries != 1 {
		t.Errorf("got %+v", o)
	}
	if _, _, err := Options(config.Redis{Addresses: []string{"redis://h?max_retries=3"}}, quiet()); err == nil {
		t.Error("options of a URL are taken")
	}
}

// Keys win over what the URL says.
func TestOptions_KeysWinOverTheURL(t *testing.T) {
	o, _, err := Options(config.Redis{Addresses: []string{"unix://user:secret@/r.sock?db=7"}, Username: "other", Password: "more", Database: 3}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	user, password, _ := o.CredentialsProviderContext(t.Context())
	if o.Addr != "/r.sock" || o.DB != 3 || user != "other" || password != "more" {
		t.Errorf("got %s, database %d, user %q", o.Addr, o.DB, user)
	}
}
