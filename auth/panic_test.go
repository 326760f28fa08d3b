package auth

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
)

// A panic while a key set is fetched is a fetch that failed.
func TestRefresher_SurvivesAPanic(t *testing.T) {
	var fetches atomic.Int32
	fetched := make(chan struct{}, 8)
	r := newRefresher(func(context.Context) error {
		defer func() { fetched <- struct{}{} }()
		fetches.Add(1)
		panic("test")
	}, slog.New(slog.DiscardHandler))
	<-fetched
	r.wait(t.Context())
	r.close()
	if fetches.Load() == 0 {
		t.Error("nothing was fetched")
	}
}
