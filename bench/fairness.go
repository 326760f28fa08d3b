package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"
)

// fairness shows what a broadcast to 10,000 does to pushes to a single user who is
// not among them. That user is in a process of its own: in the one that reads the
// broadcast the bench's own scheduling would be measured.
func fairness(o options) error {
	const subscribers = 10_000
	all, err := nodes(o)
	defer stopAll(all)
	if err != nil {
		return err
	}
	f, err := newFleet(nil)
	if err != nil {
		return err
	}
	defer f.close()
	for _, s := range all {
		if err := f.dial(s.public, subscribers/len(all), func(id int) string {
			return bearer(fmt.Sprint("c", id), `"news"`)
		}); err != nil {
			return err
		}
	}
	for _, b := range []struct {
		how     string
		atOnce  int // broadcasts
		pause   time.Duration
		nothing bool
	}{{how: "no broadcast", nothing: true}, {how: "a broadcast each 400ms", atOnce: 1, pause: 400 * time.Millisecond}, {how: "broadcasts flat out", atOnce: 100}} {
		probed, err := probeBeside(all, func() error {
			if b.nothing {
				time.Sleep(100 * time.Millisecond)
				return nil
			}
			return pacedPublish(all, b.atOnce, b.pause)
		})
		if err != nil {
			return err
		}
		fmt.Printf("fairness, %s to %d on %d node(s): pushes to one user, %s\n", b.how, subscribers, len(all), probed)
	}
	return nil
}

// probeBeside repeats load until the probe, another process, is done, and returns
// what that says.
func probeBeside(all []*server, load func() error) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	var out []byte
	go func() {
		var err error
		out, err = exec.Command(self, "probe", all[0].public, all[len(all)-1].push).Output()
		ended <- err
	}()
	for {
		if err := load(); err != nil {
			return "", errors.Join(err, <-ended)
		}
		select {
		case err := <-ended:
			return string(out), err
		default:
		}
	}
}

// probe pushes to a user of its own for some seconds, one push after the other
// with a short pause, and says how long each took from the POST to the frame.
func probe(public, push string) error {
	const user, lasts, pause = "probe", 8 * time.Second, 2 * time.Millisecond
	conn, err := net.Dial("tcp", public)
	if err != nil {
		return err
	}
	defer conn.Close()
	r, err := upgrade(conn, bearer(user, ""))
	if err != nil {
		return err
	}
	p := newPoster(push)
	var ms []float64
	for begin := time.Now(); time.Since(begin) < lasts; time.Sleep(pause) {
		sent := time.Now()
		posted := make(chan error, 1)
		go func() { posted <- p.post(body(`{"users":["` + user + `"]}`)) }()
		if err := nextFrame(conn, r); err != nil {
			return err
		}
		ms = append(ms, float64(time.Since(sent))/1e6)
		if err := <-posted; err != nil {
			return err
		}
	}
	fmt.Printf("%d pushes, p50 %.2f ms p95 %.2f ms p99 %.2f ms", len(ms), quantile(ms, .5), quantile(ms, .95), quantile(ms, .99))
	return nil
}

// nextFrame reads until a data frame came.
func nextFrame(conn net.Conn, r *bufio.Reader) error {
	for _ = conn.SetReadDeadline(time.Now().Add(time.Minute)); ; {
		b, err := r.Peek(2)
		if err == nil && b[1] == 126 {
			b, err = r.Peek(4)
		}
		if err != nil {
			return err
		}
		head, n := 2, int(b[1])
		if n == 126 {
			head, n = 4, int(b[2])<<8|int(b[3])
		}
		op := b[0] & 15
		if _, err := r.Discard(head + n); err != nil {
			return err
		}
		if op == 1 {
			return nil
		}
	}
}
