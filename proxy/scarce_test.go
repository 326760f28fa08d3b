package proxy

import (
	"errors"
	"testing"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/descriptors"
	"github.com/pushcart/pushcart/internal/testkit"
)

// long is more than any of these tests takes.
const long = 20 * time.Second

// scarce is a backend that takes every connection, and an upstream that may have
// four.
func scarce(t *testing.T) *upstream {
	t.Helper()
	ln := testkit.Listen(t)
	cfg := config.Default().Backend
	cfg.URL = "http://" + ln.Addr().String()
	w := newWatcher()
	u, err := newUpstream(cfg, w, descriptors.NewBudget(4))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		u.expire(forever)
		w.close()
		_ = ln.Close()
	})
	return u
}

func (u *upstream) four(t *testing.T) (out []*backendConn) {
	t.Helper()
	for range 4 {
		b, err := u.get(true, long)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

func TestUpstream_WithoutDescriptorsTakesWhatAnotherRequestIsDoneWith(t *testing.T) {
	u := scarce(t)
	all := u.four(t)
	got := make(chan *backendConn)
	go func() {
		b, err := u.get(false, long)
		if err != nil {
			t.Error(err)
		}
		got <- b
	}()
	u.put(all[0])
	if b := <-got; b != all[0] || !b.reused {
		t.Errorf("got another connection")
	}
	go func() {
		b, err := u.get(true, long)
		if err != nil {
			t.Error(err)
		}
		got <- b
	}()
	u.put(all[1]) // its descriptor goes to the one that wants a fresh connection
	b := <-got
	if b == all[1] || b.reused {
		t.Error("got a used connection")
	}
	for _, b := range []*backendConn{all[0], b, all[2], all[3]} {
		u.put(b)
	}
	for range 4 {
		if !u.evict() {
			t.Fatal("fewer than four are idle")
		}
	}
	if u.evict() {
		t.Error("more than four were idle")
	}
	for _, b := range u.four(t) { // all were given back
		u.discard(b)
	}
}

func TestUpstream_WithoutDescriptorsGivesUpAfterConnectTimeout(t *testing.T) {
	u := scarce(t)
	all := u.four(t)
	if _, err := u.get(false, 50*time.Millisecond); !errors.Is(err, errNoConnection) {
		t.Errorf("got %v", err)
	}
	for _, b := range all {
		u.discard(b)
	}
}
