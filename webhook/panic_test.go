package webhook

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A panic while an event is sent, or in what its answer does, ends that event only.
func TestQueue_SurvivesPanics(t *testing.T) {
	r := newRig(t, nil, func(j *job) verdict {
		if j.event.ConnectionID == "bad" {
			panic("test: send")
		}
		return verdict{result: "ok", answer: Answer{Status: 204}}
	})
	answers := make(chan error, 1)
	ask := func(conn string, done func(Answer, error)) { r.Ask(event(Message, conn, 1), done) }
	ask("bad", func(_ Answer, err error) { answers <- err })
	if err := <-answers; !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	for range 2 * r.Settings().maxInFlight {
		ask("c", func(Answer, error) { panic("test: done") })
	}
	ask("good", func(_ Answer, err error) { answers <- err })
	if err := <-answers; err != nil {
		t.Errorf("got %v after panics of others", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
}
