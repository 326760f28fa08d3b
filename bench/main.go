// Command bench measures a real pushcart process from outside: CPU of the server
// by /proc, memory by RSS, never wall time alone. Load goes to loopback, is
// bounded and ends by itself. See docs/benchmarks.md for what the figures mean.
//
//	go run ./bench idle       bytes of RSS per idle connection
//	go run ./bench connect    CPU per handshake, accept to registered
//	go run ./bench ping       CPU per ping and pong of idle connections
//	go run ./bench push       CPU and rate of pushes to one of 10,000 users
//	go run ./bench broadcast  CPU per delivery to 1,000 and 10,000 connections
//	go run ./bench all        all of them
package main

import (
	"flag"
	"fmt"
	"os"
)

// options are the flags that all measurements share.
type options struct {
	binary string
	redis  string
	rounds int
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "", "pushcart binary; empty: built from this tree")
	flag.StringVar(&o.redis, "redis", "", "host:port of a Redis to push through, two nodes; empty: one node in memory")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each figure is taken; the median is shown")
	flag.Parse()
	if err := run(o, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options, what string) error {
	all := []struct {
		name string
		do   func(options) error
	}{{"idle", idle}, {"connect", connect}, {"ping", ping}, {"push", pushes}, {"broadcast", broadcasts}, {"storm", storm}}
	if o.binary == "" {
		dir, err := os.MkdirTemp("", "pushcart-bench")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if o.binary, err = build(dir); err != nil {
			return err
		}
	}
	known := false
	for _, b := range all {
		if what == b.name || what == "all" {
			known = true
			if err := b.do(o); err != nil {
				return fmt.Errorf("%s: %w", b.name, err)
			}
		}
	}
	if !known {
		return fmt.Errorf("want one of idle, connect, ping, push, broadcast, all; got %q", what)
	}
	return nil
}
