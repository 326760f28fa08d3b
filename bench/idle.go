package main

import (
	"fmt"
	"os"

	"github.com/pushcart/pushcart/internal/testkit"
)

const anonymous = "auth: {anonymous: true}"

func noHeader(int) string { return "" }

// crowd is clients that connect, answer pings and are counted.
type crowd interface {
	dial(addr string, n int, header func(id int) string) error
	pinged() int64
	close()
}

// idleKind is one kind of connection whose cost is measured.
type idleKind struct {
	name      string
	low, high int
	lines     []string
	header    func(id int) string
	clients   func() (crowd, error)
}

func plainClients() (crowd, error) { return newFleet(nil) }

// idle shows what one idle connection costs: the RSS difference between 5,000
// and 15,000 of them, after some pings.
func idle(o options) error {
	return idleOf(o, idleKind{
		name: "idle connection", low: 5_000, high: 15_000, header: noHeader, clients: plainClients,
		lines: []string{anonymous, "websocket: {ping_interval: 2s, pong_timeout: 1s}"},
	})
}

// idleUsers is the same with a user and a token each.
func idleUsers(o options) error {
	return idleOf(o, idleKind{
		name: "idle connection of a user with a token", low: 5_000, high: 15_000, header: userHeader, clients: plainClients,
		lines: []string{"auth: {jwt: {secret: " + secret + "}}", "websocket: {ping_interval: 2s, pong_timeout: 1s}"},
	})
}

// idleCompression is the same with compression agreed on, and no traffic.
func idleCompression(o options) error {
	return idleOf(o, idleKind{
		name: "idle connection with compression", low: 5_000, high: 15_000, clients: plainClients,
		header: func(int) string {
			return extensions + ": permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n"
		},
		lines: []string{anonymous, "websocket: {ping_interval: 2s, pong_timeout: 1s, compression: true}"},
	})
}

// idleTLS is the same over TLS; fewer, as the bench's own clients cost more there.
func idleTLS(o options) error {
	dir, err := os.MkdirTemp("", "pushcart-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cert, err := testkit.WriteCertificate(dir, "bench")
	if err != nil {
		return err
	}
	return idleOf(o, idleKind{
		name: "idle TLS connection", low: 2_000, high: 6_000, header: noHeader,
		clients: func() (crowd, error) { return &tlsFleet{}, nil },
		lines: []string{anonymous, "websocket: {ping_interval: 2s, pong_timeout: 1s}",
			fmt.Sprintf("tls: {cert_file: '%s', key_file: '%s'}", cert.CertFile, cert.KeyFile)},
	})
}

func idleOf(o options, k idleKind) error {
	var each []float64
	for range o.rounds {
		per, err := idleOnce(o, k)
		if err != nil {
			return err
		}
		each = append(each, per)
	}
	fmt.Printf("%s: %.0f B of RSS each (%d to %d, median of %d)\n", k.name, median(each), k.low, k.high, o.rounds)
	return nil
}

func idleOnce(o options, k idleKind) (float64, error) {
	s, err := start(o, k.lines...)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	c, err := k.clients()
	if err != nil {
		return 0, err
	}
	defer c.close()
	if err := c.dial(s.public, k.low, k.header); err != nil {
		return 0, err
	}
	first, err := settledRSS(s, c, k.low)
	if err != nil {
		return 0, err
	}
	if err := c.dial(s.public, k.high-k.low, k.header); err != nil {
		return 0, err
	}
	second, err := settledRSS(s, c, k.high)
	return float64(second-first) / float64(k.high-k.low), err
}

// settledRSS waits for two pings of every connection.
func settledRSS(s *server, c crowd, connections int) (int64, error) {
	begin := c.pinged()
	if err := wait(func() bool { return c.pinged()-begin > int64(2*connections) }); err != nil {
		return 0, fmt.Errorf("pings: %w", err)
	}
	return s.rss(), nil
}
