// Command differential sends a table of raw requests and raw answers, valid,
// ambiguous and malformed ones, through pushcart, nginx and HAProxy before one kind
// of recording backend, and prints what the client got and what the backend got.
// It is a report, not a gate.
//
//	go run ./bench/differential              the cases where pushcart differs from both
//	go run ./bench/differential -all         every case
//	go run ./bench/differential -run chunk   those whose group or name contains "chunk"
//
// A case where pushcart differs from both is marked ! unless its note says why that
// is meant; then it is marked *. nginx and haproxy are left out where they are not
// installed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/pushcart/pushcart/bench/internal/peers"
)

// exchange is a case.
type exchange struct {
	group, name string
	send        string
	then        []string // sent after the answer to send
	answer      string
	closes      bool // the backend closes after its answer
	early       bool // and answers when it has the head
	note        string
}

// outcome is what one proxy made of it.
type outcome struct{ client, backend string }

// subject is a proxy with a backend of its own.
type subject struct {
	*peers.Peer
	backend *recorder
}

func main() {
	all := flag.Bool("all", false, "print every case")
	filter := flag.String("run", "", "only cases whose group or name contains it")
	flag.Parse()
	if err := run(*all, *filter); err != nil {
		fmt.Fprintln(os.Stderr, "differential:", err)
		os.Exit(1)
	}
}

func run(all bool, filter string) error {
	subjects, stop, err := start()
	defer stop()
	if err != nil {
		return err
	}
	var alike, explained, odd int
	for _, c := range cases() {
		if !strings.Contains(c.group+": "+c.name, filter) {
			continue
		}
		got, err := compare(subjects, &c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		mark := " "
		switch {
		case len(got) < 2 || !differs(got):
			alike++
		case c.note != "":
			explained++
			mark = "*"
		default:
			odd++
			mark = "!"
		}
		if all || mark != " " {
			show(mark, &c, subjects, got)
		}
	}
	fmt.Printf("\n%d cases: in %d pushcart does what nginx or HAProxy does; in %d it differs from both, meant so; in %d without a note\n",
		alike+explained+odd, alike, explained, odd)
	return nil
}

// start starts what is installed.
func start() (subjects []subject, stop func(), err error) {
	dir, err := os.MkdirTemp("", "differential")
	if err != nil {
		return nil, func() {}, err
	}
	stop = func() {
		for _, s := range subjects {
			s.Stop()
			s.backend.close()
		}
		_ = os.RemoveAll(dir)
	}
	for _, make := range []func(dir, backend string) (*peers.Peer, error){peers.Pushcart, peers.Nginx, peers.HAProxy} {
		backend, err := newRecorder()
		if err != nil {
			return subjects, stop, err
		}
		p, err := make(dir, backend.ln.Addr().String())
		if p != nil {
			subjects = append(subjects, subject{p, backend})
		} else {
			backend.close()
		}
		if err != nil && !errors.Is(err, exec.ErrNotFound) {
			return subjects, stop, err
		}
	}
	return subjects, stop, nil
}

func compare(subjects []subject, c *exchange) ([]outcome, error) {
	got, errs := make([]outcome, len(subjects)), make([]error, len(subjects))
	var wg sync.WaitGroup
	for i, s := range subjects {
		wg.Go(func() {
			s.backend.expect(c)
			got[i].client, errs[i] = ask(s.Address, c)
			got[i].backend = s.backend.got(c.send)
		})
	}
	wg.Wait()
	return got, errors.Join(errs...)
}

// differs says that pushcart, the first, does as no other.
func differs(got []outcome) bool {
	for _, o := range got[1:] {
		if o == got[0] {
			return false
		}
	}
	return true
}

func show(mark string, c *exchange, subjects []subject, got []outcome) {
	fmt.Printf("\n%s %s: %s\n", mark, c.group, c.name)
	for i, s := range subjects {
		fmt.Printf("    %-8s client: %-40s backend: %s\n", s.Name, got[i].client, got[i].backend)
	}
	if c.note != "" {
		fmt.Printf("    %s\n", c.note)
	}
}
