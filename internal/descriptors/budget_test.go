package descriptors

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestBudget_KeepsRoomForTheRequestsOfThoseWhoAreIn(t *testing.T) {
	b := NewBudget(80)
	in := 0
	for b.Enter() {
		in++
	}
	work := 0
	for b.Take() {
		work++
	}
	if in != 70 || work != 10 {
		t.Errorf("%d let in and %d for their work, want 70 and 10", in, work)
	}
	b.Give()
	if b.Enter() {
		t.Error("a connection took what is kept for requests")
	}
	if !b.Take() {
		t.Error("what was given back cannot be taken")
	}
}

func TestBudget_WaitGoesToEachThatWaits(t *testing.T) {
	b := NewBudget(2)
	for b.Take() {
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if !b.Wait(ctx, b.Take) {
				t.Error("waited in vain")
				return
			}
			b.Give()
		})
	}
	b.Give()
	b.Give()
	wg.Wait()
	if n := b.used.Load(); n != 0 {
		t.Errorf("%d are in use", n)
	}
}

func TestBudget_WaitEndsWithItsContext(t *testing.T) {
	b := NewBudget(2)
	for b.Take() {
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if b.Wait(ctx, b.Take) {
		t.Error("took what is not there")
	}
}

func TestBudget_NilHasNoBound(t *testing.T) {
	var b *Budget
	if !b.Enter() || !b.Take() || !b.Wait(context.Background(), b.Take) {
		t.Error("refused")
	}
	b.Give()
	b.Wake()
}
