package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	secret     = "0123456789abcdef0123456789abcdef"
	publishers = 16
	users      = 10_000
)

// token is a JWT that lets user in, with channels.
func token(user, channels string) string {
	enc := base64.RawURLEncoding
	t := enc.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + enc.EncodeToString(fmt.Appendf(nil,
		`{"sub":"%s","exp":%d,"channels":[%s]}`, user, time.Now().Add(time.Hour).Unix(), channels))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t))
	return t + "." + enc.EncodeToString(mac.Sum(nil))
}

func bearer(user, channels string) string {
	return "Authorization: Bearer " + token(user, channels) + "\r\n"
}

// nodes starts one node in memory, or two over Redis.
func nodes(o options, lines ...string) ([]*server, error) {
	lines = append(lines, "auth: {jwt: {secret: "+secret+"}}")
	count := 1
	if o.redis != "" {
		// Two versions may have different layouts there.
		prefix := fmt.Sprintf("bench-%x", crc32.ChecksumIEEE([]byte(o.binary)))
		lines, count = append(lines, "redis: {addresses: ['"+o.redis+"'], prefix: "+prefix+"}"), 2
	}
	var all []*server
	for range count {
		s, err := start(o, lines...)
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
	return all, nil
}

func cpuOf(all []*server) (sum time.Duration) {
	for _, s := range all {
		sum += s.cpu()
	}
	return sum
}

func stopAll(all []*server) {
	for _, s := range all {
		s.stop()
	}
}

// pushes shows what a push to one of 10,000 connected users costs, all in: the
// POST, the way to the connection's node, the frame.
func pushes(o options) error {
	late := &latencies{}
	r, err := newPushRig(o, users, late.frame)
	defer r.close()
	if err != nil {
		return err
	}
	var cpu, rate []float64
	for range o.rounds {
		c, perSecond, err := r.round(100_000)
		if err != nil {
			return err
		}
		cpu, rate = append(cpu, c), append(rate, perSecond)
	}
	fmt.Printf("push to 1 of %d users, %d publishers, %d node(s): %.1f CPU-µs each summed, %.0f/s, p50 %.2f ms p99 %.2f ms (median of %d)\n",
		users, publishers, len(r.all), median(cpu), median(rate), late.quantile(.5), late.quantile(.99), o.rounds)
	return nil
}

// pushRig is users who are connected to one node, or two.
type pushRig struct {
	users int
	all   []*server
	f     *fleet
}

// newPushRig returns one that is to be closed also after an error.
func newPushRig(o options, n int, frame func(int, []byte), lines ...string) (r *pushRig, err error) {
	r = &pushRig{users: n}
	if r.all, err = nodes(o, lines...); err != nil {
		return r, err
	}
	if r.f, err = newFleet(frame); err != nil {
		return r, err
	}
	for _, s := range r.all {
		if err := r.f.dial(s.public, n/len(r.all), func(id int) string { return bearer(fmt.Sprint("u", id), "") }); err != nil {
			return r, err
		}
	}
	return r, nil
}

// round makes n pushes to users at random, and waits for their frames. It returns the nodes'
// CPU-µs for each, and how many went in a second.
func (r *pushRig) round(n int) (cpu, perSecond float64, err error) {
	before, frames, began := cpuOf(r.all), r.f.frames.Load(), time.Now()
	if err := publish(r.all, n, func() []byte {
		return body(fmt.Sprintf(`{"users":["u%d"]}`, rand.IntN(r.users)))
	}); err != nil {
		return 0, 0, err
	}
	if err := r.f.awaitFrames(frames, int64(n)); err != nil {
		return 0, 0, err
	}
	return micros(cpuOf(r.all)-before) / float64(n), float64(n) / time.Since(began).Seconds(), nil
}

func (r *pushRig) close() {
	if r.f != nil {
		r.f.close()
	}
	stopAll(r.all)
}

// latencies reads the send time that the payload begins with.
type latencies struct {
	mu sync.Mutex
	ms []float64
}

func (l *latencies) frame(_ int, p []byte) {
	sent, err := base64.StdEncoding.DecodeString(string(p[1:13]))
	if err != nil || len(sent) < 8 {
		return
	}
	d := time.Now().UnixNano() - int64(binary.BigEndian.Uint64(sent))
	l.mu.Lock()
	if len(l.ms) < 1<<20 {
		l.ms = append(l.ms, float64(d)/1e6)
	}
	l.mu.Unlock()
}

func (l *latencies) quantile(q float64) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return quantile(l.ms, q)
}

var padding = bytes.Repeat([]byte("x"), 180)

// body is a push of 200 bytes to the given target.
func body(to string) []byte { return bodyAt(to, time.Now()) }

// bodyAt is one that says it was sent at a time.
func bodyAt(to string, at time.Time) []byte {
	var sent [9]byte
	binary.BigEndian.PutUint64(sent[:], uint64(at.UnixNano()))
	return fmt.Appendf(nil, `{"to":%s,"data":"%s%s"}`, to, base64.StdEncoding.EncodeToString(sent[:]), padding)
}

// publish makes n pushes from 16 keep-alive connections, over all nodes in turn.
func publish(all []*server, n int, content func() []byte) error {
	var next atomic.Int64
	errs := make(chan error, publishers)
	var wg sync.WaitGroup
	for i := range publishers {
		p := newPoster(all[i%len(all)].push)
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				if err := p.post(content()); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}
