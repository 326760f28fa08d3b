package webhook

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/pushcart/pushcart/broker"
)

// Letters keeps the events that were given up; broker.Outbox does.
type Letters interface {
	// LimitOutbox sets the bounds of all that the broker keeps for the backend.
	LimitOutbox(l broker.OutboxLimits)
	// Bury keeps a letter in the place of one with the same id. It does not wait.
	Bury(l broker.DeadLetter)
	// DeadLetters returns a page of them, the oldest first, and where the next begins.
	DeadLetters(ctx context.Context, cursor string, limit int) (page []broker.DeadLetter, next string, err error)
	// DeadLetter returns one; false: there is none.
	DeadLetter(ctx context.Context, id string) (broker.DeadLetter, bool, error)
	// Drop forgets one; false: there is none.
	Drop(ctx context.Context, id string) (bool, error)
	// OutboxSize counts what waits in the broker, and the letters, over all nodes.
	OutboxSize() (waiting, dead int)
}

var _ Letters = broker.Outbox(nil)

// SetLetters sets where events that are given up are kept. Call it once, before the
// broker starts; without it they are lost.
func (d *Dispatcher) SetLetters(l Letters) {
	d.letters = l
	l.LimitOutbox(d.settings.Load().kept)
}

// sizes counts what the broker keeps.
func (d *Dispatcher) sizes() (waiting, dead int) {
	if d.letters == nil {
		return 0, 0
	}
	return d.letters.OutboxSize()
}

// buryLocked makes a dead letter of a told event that the backend does not take, or did
// not take in time.
func (q *queue) buryLocked(j *job, v *verdict) {
	reason := failure(j.set, v)
	late := !final(v.answer.Status)
	if late {
		reason = "not accepted within webhook.retry.give_up_after; last: " + reason
	}
	q.finishLocked(j)
	q.after = append(q.after, func() { q.d.bury(j, reason, late) })
}

func (d *Dispatcher) bury(j *job, reason string, late bool) {
	const setting = "webhook.retry.give_up_after"
	switch {
	case d.letters == nil && late:
		d.lost(j, &loss{reason, setting})
		return
	case d.letters == nil:
		d.lost(j, nil)
		return
	}
	d.metrics.Webhooks.WithLabelValues(j.event.Name, "dead").Inc()
	if late { // else report said so
		d.rare.Error("webhook "+j.event.Name+" given up", "webhook given up: the event is not sent again; pushcart outbox list --state dead shows it",
			"event", j.event.Name, "reason", reason, "setting", setting)
	}
	ev := *j.event // as it is to be told again, by whichever node
	ev.Time, ev.Node = j.time(), cmp.Or(ev.Node, d.node)
	if ev.More {
		ev.Entry = ""
	}
	d.letters.Bury(broker.DeadLetter{
		ID: j.id.String(), Entry: ev.Entry, Event: AppendEvent(nil, &ev), Reason: reason, At: time.Now().UnixMilli(),
	})
	if kept := j.event.Kept; kept != nil {
		kept.Buried()
	}
}

// failure says in few words why an attempt failed.
func failure(set *Settings, v *verdict) string {
	reason, _ := explain(set, v)
	if s := v.answer.Status; s != 0 {
		return strconv.Itoa(s) + ": " + reason
	}
	return reason
}

// DeadLetters returns a page of the events that were given up, oldest first, across all
// nodes, and the cursor of the next page. An error is the broker's.
func (d *Dispatcher) DeadLetters(ctx context.Context, cursor string, limit int) (page []Pending, next string, err error) {
	if d.letters == nil {
		return nil, "", nil
	}
	letters, next, err := d.letters.DeadLetters(ctx, cursor, limit)
	if err != nil {
		return nil, "", fmt.Errorf("dead letters: %w", err)
	}
	for i := range letters {
		page = append(page, d.describe(&letters[i]))
	}
	return page, next, nil
}

// DeadLetter returns one; false: there is none of that id.
func (d *Dispatcher) DeadLetter(ctx context.Context, id string) (Pending, bool, error) {
	l, ok, err := d.letter(ctx, id)
	if !ok || err != nil {
		return Pending{}, false, err
	}
	return d.describe(&l), true, nil
}

func (d *Dispatcher) letter(ctx context.Context, id string) (broker.DeadLetter, bool, error) {
	if d.letters == nil {
		return broker.DeadLetter{}, false, nil
	}
	l, ok, err := d.letters.DeadLetter(ctx, id)
	if err != nil {
		return l, false, fmt.Errorf("dead letter: %w", err)
	}
	return l, ok, nil
}

// describe is a letter for people. One that cannot be read shows that.
func (d *Dispatcher) describe(l *broker.DeadLetter) Pending {
	p := Pending{ID: l.ID, Reason: l.Reason, GivenUp: time.UnixMilli(l.At).UTC()}
	ev, err := ParseEvent(l.Event)
	if err != nil {
		p.Reason = err.Error() + "; " + p.Reason
		return p
	}
	p.describe(ev, ev.Time)
	return p
}

// DropLetter deletes one; false means that there is none with that id.
func (d *Dispatcher) DropLetter(ctx context.Context, id string) (bool, error) {
	if d.letters == nil {
		return false, nil
	}
	ok, err := d.letters.Drop(ctx, id)
	if err != nil {
		return false, fmt.Errorf("drop a dead letter: %w", err)
	}
	return ok, nil
}

// Replay sends a dead letter again, with the same id; false means that there is none. The
// letter is removed when the backend accepts it, and replaced when it is given up again.
func (d *Dispatcher) Replay(ctx context.Context, id string) (bool, error) {
	l, ok, err := d.letter(ctx, id)
	if !ok || err != nil {
		return false, err
	}
	ev, err := ParseEvent(l.Event)
	if err != nil {
		return false, err
	}
	if _, waits := d.Hurry(id); waits { // it is told anew already
		return true, nil
	}
	ev.Kept = &replayed{d, id}
	j := newJob(ev, nil)
	j.born = time.Now() // give_up_after counts anew
	d.queue.tell(j)
	return true, nil
}

// replayed is a letter that is told anew; until the backend took it, it stays.
type replayed struct {
	d  *Dispatcher
	id string
}

// dropTime bounds how long the broker is waited for.
const dropTime = 3 * time.Second

// Told implements Kept.
func (r *replayed) Told() {
	r.d.queue.work.Go(func() {
		defer r.d.guard.Recover("dead letter", nil)
		ctx, cancel := context.WithTimeout(r.d.ctx, dropTime)
		defer cancel()
		if _, err := r.d.letters.Drop(ctx, r.id); err != nil {
			r.d.rare.Warn("dead letter", "a dead letter was sent again but is still kept", "err", err, "setting", "redis.addresses")
		}
	})
}

// Buried implements Kept: the new letter has replaced it.
func (r *replayed) Buried() {}

// Lost implements Kept: it is still a letter.
func (r *replayed) Lost() bool { return true }
