package session

import (
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/webhook"
)

// facts tells the backend what the broker has this node tell, and settles it.
type facts struct {
	engine *Engine
	outbox broker.Outbox // nil: nothing is to be settled
}

// watcher is what the broker calls.
func (e *Engine) watcher() broker.RosterWatcher {
	return broker.RosterWatcher{
		Tell: e.facts.tell, Withdraw: e.facts.withdraw, Buried: e.roster.buried,
	}
}

// factEvents are the events of facts.
var factEvents = map[broker.FactKind]string{
	broker.UserOnline: webhook.UserOnline, broker.UserOffline: webhook.UserOffline,
	broker.ChannelOccupied: webhook.ChannelOccupied, broker.ChannelVacated: webhook.ChannelVacated,
	broker.MemberJoined: webhook.PresenceJoin, broker.MemberLeft: webhook.PresenceLeave,
}

// tell tells one fact, or settles it where webhook.events does not name it (any more).
func (f *facts) tell(fact broker.Fact) {
	var events []*webhook.Event
	switch fact.Kind {
	case broker.ConnectionLost, broker.ConnectionToTell:
		events = f.ofConnection(&fact)
	case broker.UserOnline, broker.UserOffline:
		events = append(events, webhook.NewFact(factEvents[fact.Kind], "", fact.Name, fact.Generation, fact.At))
	default:
		events = append(events, webhook.NewFact(factEvents[fact.Kind], fact.Name, fact.User, fact.Generation, fact.At))
	}
	wanted := events[:0]
	for _, ev := range events {
		if f.engine.wants(ev.Name) {
			wanted = append(wanted, ev)
		}
	}
	if len(wanted) == 0 {
		f.settle(fact.Entry)
		return
	}
	for i, ev := range wanted {
		if fact.Entry != "" { // those of one connection are told in their order: the last settles it
			ev.Entry, ev.More = fact.Entry, i < len(wanted)-1
			ev.Kept = &factKept{facts: f, entry: fact.Entry, more: ev.More}
		}
		f.engine.hooks.Tell(ev)
	}
}

// ofConnection are the events of a connection whose node died.
func (f *facts) ofConnection(fact *broker.Fact) []*webhook.Event {
	r, err := webhook.ParseRecord(fact.Record)
	if err != nil {
		f.engine.rare.Warn("unreadable connection record", "the app is not notified of the end of a connection: its node's record cannot be read; is another version running?",
			"conn", fact.Name, "err", err)
		return nil
	}
	for _, ev := range r.Events {
		if ev.Name == webhook.Disconnected && fact.Kind == broker.ConnectionLost {
			lost(ev, r.Since, fact.At)
		}
	}
	return r.Events
}

// What is told of a connection whose node died.
const (
	codeLost   = 1006 // there was no Close
	reasonLost = "node lost"
	causeLost  = "node_lost"
)

// lost is how a connection ended whose node beat last at a moment.
func lost(ev *webhook.Event, since, at time.Time) {
	ev.Sequence, ev.Time, ev.ContentType = 0, at, contentJSON
	ev.Body = disconnected{
		Code: codeLost, Reason: reasonLost, Cause: causeLost, DurationMS: max(0, at.Sub(since).Milliseconds()),
	}.body()
}

// withdraw drops what another node tells.
func (f *facts) withdraw(elsewhere func(entry string) bool) {
	if f.engine.hooks == nil {
		return
	}
	f.engine.hooks.Withdraw(func(ev *webhook.Event) bool {
		k, ok := ev.Kept.(*factKept)
		return ok && elsewhere(k.entry)
	})
}

func (f *facts) settle(entry string) {
	if entry != "" && f.outbox != nil {
		f.outbox.Settle(entry)
	}
}

// factKept hears what became of a fact.
type factKept struct {
	facts *facts
	entry string
	more  bool // another event settles the entry
}

var _ webhook.Kept = (*factKept)(nil)

// Told settles it.
func (k *factKept) Told() {
	if !k.more {
		k.facts.settle(k.entry)
	}
}

// Buried: the dead letter settles it.
func (k *factKept) Buried() {}

// Lost leaves it to other nodes where this one stops.
func (k *factKept) Lost() (elsewhere bool) {
	if k.facts.engine.draining.Load() {
		return true
	}
	k.Told()
	return false
}
