package access

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/hostport"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/internal/redisurl"
	"github.com/pushcart/pushcart/internal/sockio"
	"github.com/pushcart/pushcart/internal/tlsconf"
)

// keepAlive is how a connection's end is noticed that nobody told of.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3}

// dialer makes connections.
type dialer struct {
	tls *tlsconf.Client // nil: none
}

func newDialer(cfg config.RedisTLS, enabled bool, log *ratelog.Logger) (*dialer, error) {
	if !enabled {
		return &dialer{}, nil
	}
	trust := tlsconf.Trust{CAFile: cfg.CAFile, ServerName: cfg.ServerName, Insecure: cfg.Insecure}
	client, err := tlsconf.NewClient("redis.tls", trust, cfg.CertFile, cfg.KeyFile, func(err error) {
		log.Warn("file redis.tls", "a file for redis connections cannot be read; its last content is used", "key", "redis.tls", "err", err.Error())
	})
	return &dialer{tls: client}, err
}

// connect makes a connection to an address. Over TLS the server is verified under the name
// that the address has: those of a cluster have different ones.
func (d *dialer) connect(ctx context.Context, _, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, CommandTimeout)
	defer cancel()
	conn, err := open(ctx, address)
	if err != nil {
		return nil, err
	}
	if d.tls == nil || redisurl.IsSocket(address) {
		return &unheardSocket{unheard{Conn: sockio.Wrap(conn), explain: func(err error) error { return silentPlain(address, err) }}}, nil
	}
	over := tls.Client(conn, d.tls.Config(hostport.Host(address)))
	if err := over.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, refusedTLS(address, err)
	}
	return &unheard{Conn: over, explain: func(err error) error { return refusedTLS(address, err) }}, nil
}

func open(ctx context.Context, address string) (net.Conn, error) {
	network := "tcp"
	if redisurl.IsSocket(address) {
		network = "unix"
	}
	d := net.Dialer{KeepAliveConfig: keepAlive}
	return d.DialContext(ctx, network, address)
}
