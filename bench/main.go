// Command bench measures a real pushcart process from outside: CPU of the server
// by /proc, memory by RSS, never wall time alone. Load goes to loopback, is
// bounded and ends by itself. See docs/benchmarks.md for what the figures mean.
//
//	go run ./bench idle              bytes of RSS per idle connection
//	go run ./bench idle-users        the same, each of a user with a token
//	go run ./bench idle-compression  the same with permessage-deflate agreed on
//	go run ./bench idle-tls          the same over TLS
//	go run ./bench idle-json         connections of pushcart.json.v1, with a channel, and with a user on Redis
//	go run ./bench subscribes        100,000 channels with one subscriber each
//	go run ./bench returns           10,000 clients that come back with positions after a restart
//	go run ./bench connect           CPU per handshake, accept to registered
//	go run ./bench ping              CPU per ping and pong of idle connections
//	go run ./bench push              CPU and rate of pushes to one of 10,000 users
//	go run ./bench broadcast         CPU per delivery to 1,000 and 10,000 connections
//	go run ./bench locks             what locks cost in both of these
//	go run ./bench fairness          p99 of pushes to one user beside broadcasts
//	go run ./bench flood             p50 of round trips beside 20 clients that flood, and at coder/websocket
//	go run ./bench webhooks          a message's round trip beside a proxied request
//	go run ./bench hang              10,000 connections to an app that does not answer
//	go run ./bench storm             10,000 connects in 2 s beside steady pushes
//	go run ./bench access-log        CPU of a proxied request that is logged, to one that is not
//	go run ./bench drain             15,000 connections closed, each app told
//	go run ./bench rolling           two nodes restarted under load
//	go run ./bench all               all of the above
//	go run ./bench ab OLD NEW        two commits in turn: ratios with their 95 % intervals
//	go run ./bench history           what keeping a push costs, through Redis
//	go run ./bench told              ends, connects and joins that outlive their node, through Redis
//	go run ./bench redis-size        what to size a Redis by: bytes and CPU of all that is kept there
//	go run ./bench cluster           a push through a Cluster of three primaries, beside one Redis: the ratio
//	go run ./bench resubscribe       100,000 channels resubscribed when Redis is back
//	go run ./bench streams           100,000 streams that somebody is subscribed to; 3 minutes
//	go run ./bench slow              1,000 clients that stop reading; 8 minutes
//	go run ./bench soak -time 30m    everything mixed, for a long time
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// options are the flags that all measurements share.
type options struct {
	binary string
	redis  string
	rounds int
	time   time.Duration
	pairs  int
	// backend is the app's URL; empty: one that does not answer.
	backend string
	// log has further keys of the section log, each after a comma.
	log string
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "", "pushcart binary; empty: built from this tree")
	flag.StringVar(&o.redis, "redis", "", "host:port of a Redis to push through, two nodes; empty: one node in memory")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each figure is taken; the median is shown")
	flag.DurationVar(&o.time, "time", 30*time.Minute, "of the soak")
	flag.IntVar(&o.pairs, "pairs", minPairs, "of ab: how often each figure is taken from both commits")
	flag.Parse()
	what := flag.Arg(0)
	if flag.NArg() > 0 { // flags may also follow the name
		_ = flag.CommandLine.Parse(flag.Args()[1:])
	}
	if err := run(o, what); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measurements are in the order of "all"; what takes long is asked for by name.
var measurements = []struct {
	name string
	do   func(options) error
	long bool
}{
	{"idle", idle, false}, {"idle-users", idleUsers, false}, {"idle-compression", idleCompression, false},
	{"idle-tls", idleTLS, false}, {"idle-json", idleJSON, false}, {"connect", connect, false}, {"ping", ping, false}, {"push", pushes, false},
	{"broadcast", broadcasts, false}, {"locks", locks, false}, {"fairness", fairness, false}, {"flood", flood, false},
	{"webhooks", webhooks, false}, {"hang", hang, false}, {"storm", storm, false},
	{"access-log", accessLog, false}, {"drain", drain, false}, {"rolling", rolling, false}, {"history", history, false}, {"told", told, false}, {"redis-size", redisSize, true}, {"cluster", clusterCost, true}, {"resubscribe", resubscribe, true}, {"streams", manyStreams, true}, {"subscribes", subscribes, false}, {"returns", returns, false}, {"slow", slow, true}, {"soak", soak, true},
}

func run(o options, what string) error {
	if what == "probe" { // fairness runs itself
		return probe(flag.Arg(0), flag.Arg(1))
	}
	if what == "floodprobe" { // so does flood
		return floodProbe(flag.Arg(0), flag.Arg(1))
	}
	if what == "ab" {
		return ab(o, flag.Args())
	}
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
	var names []string
	for _, b := range measurements {
		names = append(names, b.name)
		if what == b.name || what == "all" && !b.long {
			known = true
			if err := b.do(o); err != nil {
				return fmt.Errorf("%s: %w", b.name, err)
			}
		}
	}
	if !known {
		return fmt.Errorf("want all or one of %s; got %q", strings.Join(names, ", "), what)
	}
	return nil
}
