package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/push"
	"github.com/pushcart/pushcart/webhook"
)

// outbox shows what the dispatcher has to tell, and its dead letters, to the hub and
// the push API, which do not know it.
type outbox struct{ hooks *webhook.Dispatcher }

var (
	_ hub.Outbox   = outbox{}
	_ push.Letters = outbox{}
)

// Waiting implements hub.Outbox.
func (o outbox) Waiting(after string, limit int) (page []hub.Pending, more bool) {
	events, more := o.hooks.Waiting(after, limit)
	return shown(events), more
}

// Find implements hub.Outbox.
func (o outbox) Find(id string) (hub.Pending, bool) {
	p, ok := o.hooks.Find(id)
	return hub.Pending(p), ok
}

// Hurry implements hub.Outbox.
func (o outbox) Hurry(id string) (hub.Pending, bool) {
	p, ok := o.hooks.Hurry(id)
	return hub.Pending(p), ok
}

// Drop implements hub.Outbox.
func (o outbox) Drop(id string) (hub.Pending, bool) {
	p, ok := o.hooks.Drop(id)
	return hub.Pending(p), ok
}

// DeadLetters implements push.Letters.
func (o outbox) DeadLetters(ctx context.Context, cursor string, limit int) (page []hub.Pending, next string, err error) {
	letters, next, err := o.hooks.DeadLetters(ctx, cursor, limit)
	return shown(letters), next, err
}

// DeadLetter implements push.Letters.
func (o outbox) DeadLetter(ctx context.Context, id string) (hub.Pending, bool, error) {
	p, ok, err := o.hooks.DeadLetter(ctx, id)
	return hub.Pending(p), ok, err
}

// Replay implements push.Letters.
func (o outbox) Replay(ctx context.Context, id string) (bool, error) {
	ok, err := o.hooks.Replay(ctx, id)
	if errors.Is(err, webhook.ErrRecord) {
		err = fmt.Errorf("%w: %w", push.ErrUnreadable, err)
	}
	return ok, err
}

// DropLetter implements push.Letters.
func (o outbox) DropLetter(ctx context.Context, id string) (bool, error) {
	return o.hooks.DropLetter(ctx, id)
}

func shown(events []webhook.Pending) []hub.Pending {
	page := make([]hub.Pending, 0, len(events))
	for _, p := range events {
		page = append(page, hub.Pending(p))
	}
	return page
}
