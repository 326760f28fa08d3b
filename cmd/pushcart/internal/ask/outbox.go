package ask

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/push"
)

// outboxCommand is pushcart outbox.
func (p *Commands) outboxCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "outbox", Short: "show, resend or drop events for the app and dead letters", Args: cli.SubcommandsOnly,
		Long: "Show the events that wait for delivery to the app, and those given up: refused for good, or not accepted within\n" +
			"webhook.retry.give_up_after. These dead letters are kept within webhook.dead_letters.",
		Example: "  pushcart outbox list --state dead\n  pushcart outbox replay --all",
		RunE: func(*cobra.Command, []string) error {
			return cli.Usagef("outbox wants a command: pushcart outbox list (or show, replay, drop)")
		},
	}
	c.AddCommand(p.tools(p.outboxListCommand(), p.outboxShowCommand(), p.outboxReplayCommand(), p.outboxDropCommand())...)
	return c
}

// States of an event in the outbox.
const (
	waiting = "waiting"
	dead    = "dead"
)

// stateFlag adds --state.
func stateFlag(c *cobra.Command, state *string, by string) {
	c.Flags().StringVar(state, "state", by, "`STATE`: waiting (for delivery) or dead (given up)")
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{waiting + "\twaits for delivery", dead + "\tgiven up"}, cobra.ShellCompDirectiveNoFileComp))
}

func checkState(state string) error {
	if state != waiting && state != dead {
		return cli.Usagef("--state: want waiting or dead, got %q", state)
	}
	return nil
}

// OutboxEvent is one of GET /v1/outbox.
type OutboxEvent struct {
	State string `json:"state"`
	hub.Pending
}

// OutboxList is what GET /v1/outbox answers, page by page.
type OutboxList struct {
	Events   []OutboxEvent `json:"events"`
	Next     string        `json:"next,omitempty"`
	Complete bool          `json:"complete"`
}

// outbox goes through the pages; a limit of 0 is none.
func (a *asker) outbox(ctx context.Context, state string, limit int) (OutboxList, error) {
	const longest = 1000 // a page of the API
	all := OutboxList{Events: []OutboxEvent{}, Complete: true}
	for {
		size := longest
		if limit > 0 {
			size = min(longest, limit-len(all.Events))
		}
		query := url.Values{"state": {state}, "limit": {strconv.Itoa(size)}}
		if all.Next != "" {
			query.Set("cursor", all.Next)
		}
		var page OutboxList
		if _, err := a.get(ctx, &page, query, "outbox"); err != nil {
			return all, err
		}
		all.Events = append(all.Events, page.Events...)
		all.Next, all.Complete = page.Next, all.Complete && page.Complete
		if all.Next == "" || len(all.Events) == limit {
			return all, nil
		}
	}
}

// outboxListCommand is pushcart outbox list.
func (p *Commands) outboxListCommand() *cobra.Command {
	var a asker
	var state string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "list the events that wait for delivery, or the dead letters", Args: cli.NoArguments,
		Example: "  pushcart outbox list\n  pushcart outbox list --state dead --json",
	}
	a.flags(c)
	cli.JSONFlag(c, &a.json)
	stateFlag(c, &state, waiting)
	c.Flags().IntVar(&limit, "limit", 0, "at most `N` of them; 0: all")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := checkState(state); err != nil {
			return err
		}
		if limit < 0 {
			return cli.Usagef("--limit must not be negative, got %d", limit)
		}
		list, err := a.outbox(c.Context(), state, limit)
		if err != nil {
			return err
		}
		if a.json {
			return json.NewEncoder(p.stdout).Encode(list)
		}
		p.incomplete(list.Complete)
		if len(list.Events) == 0 {
			fmt.Fprintln(p.stdout, map[string]string{waiting: "nothing waits", dead: "no dead letters"}[state])
			return nil
		}
		rows := [][]string{{"ID", "EVENT", "ABOUT", "SINCE", "TRIES", "NEXT", "REASON"}}
		if state == dead {
			rows = [][]string{{"ID", "EVENT", "ABOUT", "GIVEN UP", "REASON"}}
		}
		for _, e := range list.Events {
			rows = append(rows, e.row())
		}
		table(p.stdout, rows)
		return nil
	}
	return c
}

func (e *OutboxEvent) row() []string {
	reason := cmp.Or(e.Reason, "-")
	if e.State == dead {
		return []string{e.ID, e.Event, e.about(), moment(e.GivenUp), reason}
	}
	return []string{e.ID, e.Event, e.about(), moment(e.Time), strconv.Itoa(e.Tries), e.next(), reason}
}

// about is what the event is about: the user in a channel, or the connection.
func (e *OutboxEvent) about() string {
	var parts []string
	for _, part := range [...]struct{ kind, name string }{{"connection", e.Connection}, {"user", e.User}, {"channel", e.Channel}} {
		if part.name != "" {
			parts = append(parts, part.kind+" "+part.name)
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "-")
}

// next is when the event is sent next.
func (e *OutboxEvent) next() string {
	if e.Due.IsZero() {
		return "now"
	}
	return "in " + max(0, time.Until(e.Due)).Round(time.Second).String()
}

// outboxShowCommand is pushcart outbox show.
func (p *Commands) outboxShowCommand() *cobra.Command {
	var a asker
	c := &cobra.Command{
		Use: "show ID", Short: "show one waiting event or dead letter, with its payload",
		Example: "  pushcart outbox show 4f0c7e9e-6a0b-8d1f-a3c2-5a1e0c9b7d43",
		Args:    oneID("pushcart outbox show ID", "pushcart outbox list (--state dead) lists them"),
	}
	a.flags(c)
	cli.JSONFlag(c, &a.json)
	c.RunE = func(c *cobra.Command, args []string) error {
		var e OutboxEvent
		answer, err := a.get(c.Context(), &e, nil, "outbox", args[0])
		if err != nil {
			return noEvent(err, args[0])
		}
		if a.json {
			fmt.Fprintf(p.stdout, "%s\n", answer)
			return nil
		}
		rows := [][]string{{"id", e.ID}, {"event", e.Event}, {"state", e.State}, {"about", e.about()}, {"happened", moment(e.Time)}}
		if e.State == dead {
			rows = append(rows, []string{"given up", moment(e.GivenUp)})
		} else {
			rows = append(rows, []string{"tries", strconv.Itoa(e.Tries)}, []string{"next", e.next()}, []string{"node", e.Node})
		}
		table(p.stdout, append(rows, []string{"reason", cmp.Or(e.Reason, "-")}, []string{"payload", string(e.Data)}))
		return nil
	}
	return c
}

// noEvent explains an answer about one event.
func noEvent(err error, id string) error {
	var refused *push.Refused
	if errors.As(err, &refused) && refused.Message == noSuchEvent {
		return fmt.Errorf("there is no event %s in the outbox now: it was delivered or dropped; pushcart outbox list (--state dead) lists them", id)
	}
	return err
}

// outboxReplayCommand is pushcart outbox replay.
func (p *Commands) outboxReplayCommand() *cobra.Command {
	var a asker
	var state string
	var all bool
	c := &cobra.Command{
		Use: "replay ID… | --all", Short: "resend dead letters or waiting events",
		Long: "Send dead letters to the app again, with their ids: a letter is removed when the app accepts it, and stays if it is\n" +
			"given up again. An event that waits is sent at once.",
		Example: "  pushcart outbox replay 4f0c7e9e-6a0b-8d1f-a3c2-5a1e0c9b7d43\n  pushcart outbox replay --all\n  pushcart outbox replay --all --state waiting",
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case all && len(args) > 0:
				return cli.Usagef("replay takes ids or --all, not both")
			case !all && c.Flags().Changed("state"):
				return cli.Usagef("--state goes with --all: pushcart outbox replay --all --state %s", state)
			case !all:
				return someIDs(c, args)
			}
			return checkState(state)
		},
	}
	a.flags(c)
	stateFlag(c, &state, dead)
	c.Flags().BoolVar(&all, "all", false, "all dead letters, or with --state waiting all waiting events")
	c.RunE = func(c *cobra.Command, ids []string) error {
		if all {
			list, err := a.outbox(c.Context(), state, 0)
			if err != nil {
				return err
			}
			p.incomplete(list.Complete)
			ids = ids[:0]
			for _, e := range list.Events {
				ids = append(ids, e.ID)
			}
		}
		return p.each(c.Context(), &a, ids, all, replayed)
	}
	return c
}

// outboxDropCommand is pushcart outbox drop.
func (p *Commands) outboxDropCommand() *cobra.Command {
	var a asker
	c := &cobra.Command{
		Use: "drop ID…", Short: "drop waiting events and dead letters", Args: someIDs,
		Example: "  pushcart outbox drop 4f0c7e9e-6a0b-8d1f-a3c2-5a1e0c9b7d43",
	}
	a.flags(c)
	c.RunE = func(c *cobra.Command, ids []string) error { return p.each(c.Context(), &a, ids, false, dropped) }
	return c
}

// someIDs wants at least one.
func someIDs(c *cobra.Command, args []string) error {
	or := ""
	if c.Flags().Lookup("all") != nil {
		or = ", or --all"
	}
	switch {
	case len(args) == 0:
		return cli.Usagef("%s wants an id%s: pushcart outbox %s ID; pushcart outbox list --state dead lists them", c.Name(), or, c.Name())
	case slices.Contains(args, ""):
		return cli.Usagef("%s wants ids that are not empty: pushcart outbox %s ID", c.Name(), c.Name())
	}
	return nil
}

// deed is what is done to events, and how it is told.
type deed struct {
	method string
	after  []string // segments behind the id
	done   string
}

var (
	replayed = deed{http.MethodPost, []string{"replay"}, "to be sent again"}
	dropped  = deed{http.MethodDelete, nil, "dropped"}
)

// each does it to all events. One that is gone is a mistake, unless it was in a list:
// then it was told meanwhile.
func (p *Commands) each(ctx context.Context, a *asker, ids []string, listed bool, d deed) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	n := 0
	var failed []error
	for _, id := range ids {
		_, err := client.Call(ctx, d.method, append([]string{"outbox", id}, d.after...)...)
		var refused *push.Refused
		switch {
		case err == nil:
			n++
		case !errors.As(err, &refused): // nor will the others be answered
			return errors.Join(append(failed, a.explain(err))...)
		case !listed || refused.Message != noSuchEvent:
			failed = append(failed, noEvent(a.explain(err), id))
		}
	}
	fmt.Fprintf(p.stdout, "%s %s\n", count(n, "event"), d.done)
	return errors.Join(failed...)
}
