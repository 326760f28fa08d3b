package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The load of a soak: a fixed population of constant churn, so that figures of any
// two minutes are comparable.
const (
	soakUsers      = 3_000
	soakSleepers   = 10 // the first of them, who stop reading in turn
	soakChurn      = 50 // a second leave and come back
	soakPushes     = 1_000
	soakMessages   = 300 // a second to the app, each answered
	soakBroadcast  = 500 * time.Millisecond
	soakSleepEvery = 10 * time.Second
)

// soak mixes everything at a moderate rate for a long time and shows that memory
// and goroutines at its end are what they were after minute 5.
func soak(o options) error {
	b, err := newBackend()
	if err != nil {
		return err
	}
	defer b.close()
	all, err := nodes(o, b.config("message, connected, disconnected"))
	defer stopAll(all)
	if err != nil {
		return err
	}
	k, err := newSoaked(all, b)
	if err != nil {
		return err
	}
	defer k.fleet.close()
	ctx, cancel := context.WithTimeout(context.Background(), o.time)
	defer cancel()
	loads := make(chan error, 1)
	go func() { loads <- k.load(ctx, cancel) }()
	minutes := k.watch(ctx)
	if err := <-loads; err != nil {
		return err
	}
	if len(minutes) < 2 {
		return errors.New("a soak takes more than two minutes")
	}
	return compare(minutes)
}

// soaked is the population.
type soaked struct {
	all     []*server
	fleet   *fleet
	headers []string // of each user, who comes back with the same token
	coming  sync.WaitGroup
}

func newSoaked(all []*server, b *backend) (*soaked, error) {
	f, err := newFleet(nil)
	if err != nil {
		return nil, err
	}
	f.receive = 128 << 10
	k := &soaked{all: all, fleet: f, headers: make([]string, soakUsers)}
	for id := range k.headers {
		k.headers[id] = bearer(fmt.Sprint("u", id), `"news"`)
	}
	// A sleeper that was closed wakes, reads its Close frame and comes back.
	b.onEvent = func(e event) {
		if id, err := strconv.Atoi(strings.TrimPrefix(e.user, "u")); err == nil && id < soakSleepers {
			f.resume(id)
		}
	}
	f.onEnd = func(id, _ int) {
		k.coming.Go(func() { _ = k.come(id) })
	}
	for _, s := range all {
		if err := f.dial(s.public, soakUsers/len(all), k.header); err != nil {
			f.close()
			return nil, err
		}
	}
	return k, nil
}

func (k *soaked) header(id int) string { return k.headers[id] }

func (k *soaked) come(id int) error {
	return k.fleet.open(k.all[rand.IntN(len(k.all))].public, id, k.headers[id])
}

// load runs all kinds of load until ctx ends; the first that fails ends it.
func (k *soaked) load(ctx context.Context, cancel func()) error {
	posters := make([]*poster, publishers)
	for i := range posters {
		posters[i] = newPoster(k.all[i%len(k.all)].push)
	}
	var errs [5]error
	var wg sync.WaitGroup
	run := func(i, perSecond, workers int, do func(w int) error) {
		wg.Go(func() {
			errs[i] = paced(ctx, perSecond, workers, func(w int, _ time.Time) error { return do(w) })
			cancel()
		})
	}
	anybody := func() int { return soakSleepers + rand.IntN(soakUsers-soakSleepers) }
	run(0, soakPushes, publishers, func(w int) error { return posters[w].post(body(userTarget(anybody()))) })
	run(1, soakMessages, 1, func(int) error { k.fleet.say(anybody(), "hello"); return nil })
	run(2, soakChurn, 1, func(int) error {
		id := anybody()
		k.fleet.leave(k.fleet.newest(id))
		return k.come(id)
	})
	extra := newPoster(k.all[0].push)
	run(3, int(time.Second/soakBroadcast), 1, func(int) error { return extra.post(body(`{"channels":["news"]}`)) })
	wg.Go(func() { errs[4] = k.sleepInTurn(ctx) })
	wg.Wait()
	k.coming.Wait()
	return errors.Join(errs[:]...)
}

// sleepInTurn lets one client after the other stop reading and pushes to it what
// its outbox has no room for.
func (k *soaked) sleepInTurn(ctx context.Context) error {
	p := newPoster(k.all[0].push)
	large := fmt.Sprintf(`"text":"%s"}`, strings.Repeat("x", 60_000))
	tick := time.NewTicker(soakSleepEvery)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		id := turn % soakSleepers
		k.fleet.pause(id)
		for range 40 {
			if err := p.post([]byte(`{"to":` + userTarget(id) + `,` + large)); err != nil {
				return err
			}
		}
	}
}

// soakMinute is the medians of a minute.
type soakMinute struct {
	rss, goroutines, heap, fds, connections float64
}

// watch samples each second and prints each minute, until ctx ends.
func (k *soaked) watch(ctx context.Context) (minutes []soakMinute) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	samples := map[string][]float64{}
	for before, second := cpuOf(k.all), 1; ; second++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return minutes
		}
		var rss float64
		sums := map[string]float64{}
		for _, s := range k.all {
			rss += float64(s.rss())
			for name, v := range s.metrics() {
				sums[name] += v
			}
		}
		sums["rss"] = rss
		for _, name := range []string{"rss", "go_goroutines", "go_memstats_heap_inuse_bytes", "process_open_fds", "pushcart_connections"} {
			samples[name] = append(samples[name], sums[name])
		}
		if second%60 != 0 {
			continue
		}
		m := soakMinute{
			median(samples["rss"]), median(samples["go_goroutines"]), median(samples["go_memstats_heap_inuse_bytes"]),
			median(samples["process_open_fds"]), median(samples["pushcart_connections"]),
		}
		clear(samples)
		minutes = append(minutes, m)
		now := cpuOf(k.all)
		fmt.Printf("soak, minute %d: RSS %.1f MiB, heap in use %.1f MiB, %.0f goroutines, %.0f descriptors, %.0f connections, %.0f %% of a core, %.0f slow so far, %.0f messages so far\n",
			len(minutes), m.rss/(1<<20), m.heap/(1<<20), m.goroutines, m.fds, m.connections, (now-before).Seconds()/60*100,
			sums["pushcart_slow_consumers_total"], sums["pushcart_client_messages_total"])
		before = now
	}
}

// compare holds the last minute to minute 5, or to the first of a short soak.
func compare(minutes []soakMinute) error {
	early := min(5, len(minutes)-1)
	a, b := minutes[early-1], minutes[len(minutes)-1]
	change := func(from, to float64) float64 { return (to - from) / from * 100 }
	rss, goroutines := change(a.rss, b.rss), change(a.goroutines, b.goroutines)
	fmt.Printf("soak: from minute %d to minute %d RSS %+.1f %%, heap in use %+.1f %%, goroutines %+.1f %%, descriptors %+.1f %%\n",
		early, len(minutes), rss, change(a.heap, b.heap), goroutines, change(a.fds, b.fds))
	if math.Abs(rss) > 5 || math.Abs(goroutines) > 5 {
		return errors.New("more than 5 % from what it was")
	}
	return nil
}
