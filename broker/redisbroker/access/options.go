package access

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/internal/redisurl"
)

// CommandTimeout bounds one command.
const CommandTimeout = 1500 * time.Millisecond

// bufferSize is for pipelines of many commands in one write.
const bufferSize = 128 << 10

// Options are how servers are connected to, the first address among them. Passwords and
// certificates are those that their files hold when a connection is made; log gets what is
// wrong with a file then.
func Options(cfg config.Redis, log *ratelog.Logger) (o *redis.Options, addresses []string, err error) {
	var address redisurl.Address // the URLs agree
	for i, text := range cfg.Addresses {
		a, err := redisurl.Parse(text)
		if err != nil {
			return nil, nil, fmt.Errorf("redis.addresses[%d]: %w", i, err)
		}
		if addresses = append(addresses, a.Addr); redisurl.IsURL(text) {
			address = a
		}
	}
	if cfg.Username != "" {
		address.Username = cfg.Username
	}
	if cfg.Password != "" {
		address.Password = string(cfg.Password)
	}
	if cfg.Database != 0 {
		address.Database = cfg.Database
	}
	dial, err := newDialer(cfg.TLS, cfg.TLS.Enabled || address.TLS, log)
	if err != nil {
		return nil, nil, err
	}
	o = &redis.Options{Addr: addresses[0], DB: address.Database, Dialer: dial.connect}
	o.CredentialsProviderContext = NewPassword("redis.password", address.Password, cfg.PasswordFile, log).For(address.Username)
	o.ContextTimeoutEnabled = true
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = CommandTimeout, CommandTimeout, CommandTimeout
	o.MaxRetries = -1 // a publish that is sent twice would be delivered twice
	o.DialerRetries = 1
	o.PoolSize, o.MinIdleConns = 1, 0 // a client is one goroutine's, see link.Link
	// go-redis would have a second pool for pipelines, and take a connection of the first
	// one where that fails: a client would have two, and would not say why one failed.
	o.PipelinePoolSize = -1
	o.ReadBufferSize, o.WriteBufferSize = bufferSize, bufferSize
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o, addresses, nil
}
