// Command passthrough compares the CPU that pushcart, nginx and HAProxy spend on
// one proxied request, and their throughput on large bodies, in the same run and
// before the same backend. CPU is the proxy's own, from /proc.
//
//	go run ./bench/passthrough                   the table
//	go run ./bench/passthrough -only pushcart    one of them, to profile it
//
// nginx and haproxy are left out where they are not installed.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"time"
)

type options struct {
	rounds  int
	seconds time.Duration
	conns   int
	only    string
	small   bool
	large   bool
	idle    int
}

func main() {
	var o options
	backend := flag.Bool("backend", false, "run as the backend; the bench does so for itself")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each figure is taken; the median is shown")
	flag.DurationVar(&o.seconds, "time", 4*time.Second, "of one measurement")
	flag.IntVar(&o.conns, "conns", 64, "keep-alive connections")
	flag.StringVar(&o.only, "only", "", "one target")
	flag.BoolVar(&o.small, "small", true, "make small requests")
	flag.BoolVar(&o.large, "large", true, "also move 100 MiB down and up")
	flag.IntVar(&o.idle, "idle", 0, "also hold so many idle keep-alive connections")
	flag.Parse()
	var err error
	if *backend {
		err = runBackend()
	} else {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "passthrough:", err)
		os.Exit(1)
	}
}

// sizes are those of the small responses.
func (o *options) sizes() []int {
	if !o.small {
		return nil
	}
	return []int{100, 10 << 10}
}

func run(o options) error {
	targets, stop, err := startAll(o)
	defer stop()
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		return fmt.Errorf("nothing to measure: %q is no target, or not installed", o.only)
	}
	for _, size := range o.sizes() {
		if err := compareRequests(o, targets, size); err != nil {
			return err
		}
	}
	if o.large {
		if err := compareLarge(o, targets); err != nil {
			return err
		}
	}
	return compareIdle(o, targets)
}

// pacedRate is at how many requests a second latencies are compared: at full load
// they only repeat the throughput.
const pacedRate = 4000

func compareRequests(o options, targets []*target, size int) error {
	fmt.Printf("\n%d B, %d keep-alive connections; latencies at %d requests a second\n%-10s %12s %9s %9s %9s %14s %14s\n",
		size, o.conns, pacedRate, "", "CPU-µs/req", "req/s", "p50 µs", "p99 µs", "p50 added µs", "p99 added µs")
	full, paced := map[*target][]sample{}, map[*target][]sample{}
	path := fmt.Sprintf("/bytes/%d", size)
	for range o.rounds {
		for _, t := range targets {
			f, err := measure(t, path, o, 0)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			p, err := measure(t, path, o, time.Duration(o.conns)*time.Second/pacedRate)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			full[t], paced[t] = append(full[t], f), append(paced[t], p)
		}
	}
	first := medianSample(paced[targets[0]])
	for _, t := range targets {
		f, p := medianSample(full[t]), medianSample(paced[t])
		fmt.Printf("%-10s %12.1f %9.0f %9.0f %9.0f %14.0f %14.0f\n", t.name, f.cpu, f.rate, p.p50, p.p99, p.p50-first.p50, p.p99-first.p99)
	}
	return nil
}

func compareLarge(o options, targets []*target) error {
	fmt.Printf("\n100 MiB\n%-10s %12s %12s %14s\n", "", "down MiB/s", "up MiB/s", "growth MiB")
	results := map[*target]*figures{}
	for range o.rounds {
		for _, t := range targets {
			f := results[t]
			if f == nil {
				f = &figures{}
				results[t] = f
			}
			if err := moveLarge(t, f); err != nil {
				fmt.Printf("%-10s %v\n", t.name, err)
			}
		}
	}
	for _, t := range targets {
		f := results[t]
		if len(f.growth) == 0 {
			continue
		}
		fmt.Printf("%-10s %12.0f %12.0f %14.1f\n", t.name, median(f.down), median(f.up), slices.Max(f.growth))
	}
	return nil
}

// figures are of 100 MiB bodies: MiB per second, and MiB of RSS.
type figures struct{ down, up, growth []float64 }

func moveLarge(t *target, f *figures) error {
	before := t.rss()
	down, err := download(t, 100<<20)
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	up, err := uploadBody(t, 100<<20)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	f.down, f.up = append(f.down, down), append(f.up, up)
	f.growth = append(f.growth, float64(t.rss()-before)/(1<<20))
	return nil
}

func compareIdle(o options, targets []*target) error {
	if o.idle == 0 {
		return nil
	}
	fmt.Printf("\n%d idle keep-alive connections after one request each\n%-10s %14s %14s\n", o.idle, "", "RSS bytes each", "RSS MiB in all")
	for _, t := range targets {
		each, total, err := idleCost(t, o.idle)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		fmt.Printf("%-10s %14.0f %14.1f\n", t.name, each, total)
	}
	return nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
