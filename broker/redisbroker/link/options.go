package link

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/sockio"
	"github.com/pushcart/pushcart/internal/tlsconf"
)

// commandTimeout bounds one command.
const commandTimeout = 1500 * time.Millisecond

// bufferSize is for pipelines of many commands in one write.
const bufferSize = 128 << 10

// newOptions says how to connect, and where.
func newOptions(cfg config.Redis) (o *redis.Options, addresses []string, err error) {
	o = &redis.Options{}
	for i, address := range cfg.Addresses {
		if !strings.Contains(address, "://") {
			addresses = append(addresses, address)
			continue
		}
		u, err := redis.ParseURL(address)
		if err != nil {
			return nil, nil, fmt.Errorf("redis.addresses[%d]: not a redis:// URL", i) // the cause may quote a password
		}
		o = u // they agree
		addresses = append(addresses, u.Addr)
	}
	o.Addr = addresses[0]
	if cfg.Username != "" {
		o.Username = cfg.Username
	}
	if cfg.Password != "" {
		o.Password = string(cfg.Password)
	}
	if cfg.Database != 0 {
		o.DB = cfg.Database
	}
	o.ContextTimeoutEnabled = true
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = commandTimeout, commandTimeout, commandTimeout
	o.MaxRetries = -1 // a publish that is sent twice would be delivered twice
	o.DialerRetries = 1
	o.PoolSize, o.MinIdleConns = 1, 0 // a client is one goroutine's, see connect
	// go-redis would have a second pool for pipelines, and take a connection of the first
	// one where that fails: a client would have two, and would not say why one failed.
	o.PipelinePoolSize = -1
	o.ReadBufferSize, o.WriteBufferSize = bufferSize, bufferSize
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if cfg.TLS.Enabled || o.TLSConfig != nil {
		o.TLSConfig, err = newTLS(cfg.TLS)
	}
	dial := redis.NewDialer(o)
	o.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return sockio.Wrap(conn), nil
	}
	return o, addresses, err
}

// newTLS verifies each server under the host of its address, unless it has one name for all.
func newTLS(cfg config.RedisTLS) (*tls.Config, error) {
	trust := tlsconf.Trust{CAFile: cfg.CAFile, ServerName: cfg.ServerName, Insecure: cfg.Insecure}
	t, err := trust.Client("redis.tls", "")
	if err == nil && cfg.CertFile != "" {
		err = tlsconf.Show(t, "redis.tls", cfg.CertFile, cfg.KeyFile)
	}
	return t, err
}
