package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/guard"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/internal/sockio"
	"github.com/pushcart/pushcart/metrics"
)

const (
	// redisTimeout bounds one command; a publish is given up after publishTimeout
	// in all, which is below the 3 s that a push may take while Redis hangs.
	redisTimeout   = 1500 * time.Millisecond
	publishTimeout = 2500 * time.Millisecond
)

// Redis is the broker over a standalone Redis 7.0 or newer, or Valkey.
type Redis struct {
	keys     string // what keys begin with
	channels string // what channels begin with
	options  *redis.Options
	node     string
	metrics  *metrics.Metrics
	log      *slog.Logger
	guard    *guard.Guard
	rate     *ratelog.Logger
	canary   string // this node's own topic
	receive  Receiver

	publisher  publisher
	subscriber subscriber

	up     atomic.Bool // health.down is nil
	health health
	probes atomic.Int64 // number of the last probe that was sent
	heard  atomic.Int64 // and of the last that came back
	// probeNow asks for a probe: this node listens to its canary again.
	probeNow chan struct{}
	ctx      context.Context
	cancel   context.CancelFunc
	work     sync.WaitGroup
}

// health is what is known of Redis.
type health struct {
	mu      sync.Mutex // guards all below
	down    error      // why nothing can be delivered; nil: it can
	refusal error      // what the last write was answered; nil: it was taken
	void    int64      // probes up to this number prove nothing: they were sent before it went down
}

var (
	_ Broker = (*Memory)(nil)
	_ Broker = (*Redis)(nil)
)

// NewRedis returns a broker that connects at Start.
func NewRedis(cfg config.Redis, nodeID string, m *metrics.Metrics, log *slog.Logger) (*Redis, error) {
	o, err := redisOptions(cfg)
	if err != nil {
		return nil, err
	}
	o.ClientName = "pushcart-" + nodeID
	b := &Redis{
		keys: cfg.Prefix + ":", options: o, node: nodeID, metrics: m, log: log, guard: guard.New(log, m.Panics.Inc), rate: ratelog.New(log),
		// Pub/sub knows no databases: the names of its channels carry the number.
		channels: cfg.Prefix + ":" + strconv.Itoa(o.DB) + ":",
		canary:   "canary:" + nodeID, probeNow: make(chan struct{}, 1),
	}
	b.health.down = errStarting
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.publisher.init()
	b.subscriber.init()
	m.Gauge("pushcart_redis_publish_queue", "Publications that wait for Redis.",
		func() float64 { return float64(b.publisher.waiting()) })
	return b, nil
}

func redisOptions(cfg config.Redis) (*redis.Options, error) {
	address := cfg.Addresses[0]
	o := &redis.Options{Addr: address}
	if strings.Contains(address, "://") {
		var err error
		if o, err = redis.ParseURL(address); err != nil {
			return nil, errors.New("redis.addresses[0]: not a redis:// URL") // the cause may quote a password
		}
	}
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
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = redisTimeout, redisTimeout, redisTimeout
	o.MaxRetries = -1 // a publish that is sent twice would be delivered twice
	o.DialerRetries = 1
	o.PoolSize, o.MinIdleConns = 1, 0 // a client is one goroutine's, see connect
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	var err error
	if cfg.TLS.Enabled || o.TLSConfig != nil {
		o.TLSConfig, err = redisTLS(cfg.TLS, o.Addr)
	}
	dial := redis.NewDialer(o)
	o.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return sockio.Wrap(conn), nil
	}
	return o, err
}

func redisTLS(cfg config.RedisTLS, address string) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, InsecureSkipVerify: cfg.Insecure}
	if cfg.ServerName != "" {
		t.ServerName = cfg.ServerName
	}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("redis.tls.ca_file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("redis.tls.ca_file: no certificate in it")
		}
	}
	if cfg.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("redis.tls.cert_file: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// Start implements Broker.
func (b *Redis) Start(receive Receiver) error {
	b.receive = receive
	b.subscriber.listen(b.canary, b.probed)
	for where, loop := range map[string]func(){
		"publishing to Redis": b.publishLoop, "subscription at Redis": b.subscribeLoop, "probes of Redis": b.watch,
	} {
		b.work.Go(func() { b.keep(where, loop) })
	}
	return nil
}

// keep runs a loop, and after a panic of it, with a pause, the next.
func (b *Redis) keep(where string, loop func()) {
	first := true
	b.guard.Loop(where, func() {
		if !first {
			select {
			case <-b.ctx.Done():
				return
			case <-time.After(reconnectMax):
			}
		}
		first = false
		loop()
	})
}

// Up implements Broker: the last probe came back.
func (b *Redis) Up() bool { return b.up.Load() }

// connect returns a client for one goroutine. It has one connection, which is made
// with its first command; to make another is to connect again.
func (b *Redis) connect() *redis.Client { return redis.NewClient(b.options) }

// Close implements Broker.
func (b *Redis) Close() error {
	b.cancel()
	b.publisher.close()
	b.subscriber.interrupt()
	b.work.Wait()
	return nil
}
