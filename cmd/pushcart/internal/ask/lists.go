package ask

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/push"
)

// oneID wants the one argument of a command.
func oneID(example, otherwise string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return cli.Usagef("%s wants an id: %s; %s", c.Name(), example, otherwise)
		case len(args) > 1:
			return cli.Usagef("%s takes one id, got %d%s", c.Name(), len(args), cli.SeeHelp(c))
		case args[0] == "":
			return cli.Usagef("%s wants an id that is not empty: %s", c.Name(), example)
		}
		return nil
	}
}

// usersCommand is pushcart users.
func (p *Commands) usersCommand() *cobra.Command {
	var a asker
	c := &cobra.Command{
		Use: "users ID", Short: "show a user's connections on all nodes", Example: "  pushcart users 42",
		Args: oneID("pushcart users 42", "pushcart status says how many there are"),
	}
	a.flags(c)
	cli.JSONFlag(c, &a.json)
	c.RunE = func(c *cobra.Command, args []string) error {
		var user struct {
			Connections []hub.Info `json:"connections"`
			Complete    bool       `json:"complete"`
		}
		answer, err := a.get(c.Context(), &user, nil, "users", args[0])
		if err != nil {
			return err
		}
		if a.json {
			fmt.Fprintf(p.stdout, "%s\n", answer)
			return nil
		}
		p.incomplete(user.Complete)
		if len(user.Connections) == 0 {
			fmt.Fprintf(p.stdout, "user %s is not connected\n", args[0])
			return nil
		}
		rows := [][]string{{"CONNECTION", "NODE", "SINCE", "ADDRESS", "CHANNELS"}}
		for _, i := range user.Connections {
			rows = append(rows, []string{i.ConnectionID, i.NodeID, moment(i.Since), i.RemoteIP, listed(i.Channels)})
		}
		table(p.stdout, rows)
		return nil
	}
	return c
}

// connectionsCommand is pushcart connections.
func (p *Commands) connectionsCommand() *cobra.Command {
	var a asker
	c := &cobra.Command{
		Use: "connections ID", Short: "show one connection with its counters and state", Example: "  pushcart connections 9f53ca4abka-lvdt7n99",
		Args: oneID("pushcart connections ID", "pushcart users U lists those of a user"),
	}
	a.flags(c)
	cli.JSONFlag(c, &a.json)
	c.RunE = func(c *cobra.Command, args []string) error {
		var i hub.Info
		answer, err := a.get(c.Context(), &i, nil, "connections", args[0])
		var refused *push.Refused
		if errors.As(err, &refused) && refused.Message == noSuchConnection {
			return fmt.Errorf("there is no connection %s now; pushcart users U lists those of a user", args[0])
		}
		if err != nil {
			return err
		}
		if a.json {
			fmt.Fprintf(p.stdout, "%s\n", answer)
			return nil
		}
		user := i.UserID
		if user == "" {
			user = "(anonymous)"
		}
		rows := [][]string{
			{"connection", i.ConnectionID}, {"user", user}, {"node", i.NodeID}, {"since", moment(i.Since)}, {"address", i.RemoteIP},
			{"channels", listed(i.Channels)}, {"received", traffic(i.MessagesIn, i.BytesIn)}, {"sent", traffic(i.MessagesOut, i.BytesOut)},
		}
		if len(i.State) > 0 {
			rows = append(rows, []string{"state", string(i.State)})
		}
		table(p.stdout, rows)
		return nil
	}
	return c
}

// channelsCommand is pushcart channels.
func (p *Commands) channelsCommand() *cobra.Command {
	var a asker
	var match string
	var limit int
	c := &cobra.Command{
		Use: "channels", Short: "list the channels and how many connections each has", Args: cli.NoArguments,
		Long:    "List the channels of all nodes in the order of their names, and how many connections each has.",
		Example: "  pushcart channels\n  pushcart channels --match 'chat.*' --json",
	}
	a.flags(c)
	cli.JSONFlag(c, &a.json)
	c.Flags().StringVar(&match, "match", "", "only names that fit `PATTERN`; * stands for anything but dots, ** for anything")
	c.Flags().IntVar(&limit, "limit", 0, "at most `N` of them; 0: all")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if limit < 0 {
			return cli.Usagef("--limit must not be negative, got %d", limit)
		}
		list, err := a.channels(c, match, limit)
		if err != nil {
			return err
		}
		if a.json {
			return json.NewEncoder(p.stdout).Encode(list)
		}
		p.incomplete(list.Complete)
		rows := [][]string{{"CHANNEL", "CONNECTIONS"}}
		for _, one := range list.Channels {
			rows = append(rows, []string{one.Channel, strconv.Itoa(one.Connections)})
		}
		if len(rows) == 1 {
			fmt.Fprintln(p.stdout, "no channels")
			return nil
		}
		table(p.stdout, rows)
		return nil
	}
	return c
}

// channelList is what GET /v1/channels answers, page by page.
type channelList struct {
	Channels []hub.ChannelCount `json:"channels"`
	Next     string             `json:"next,omitempty"`
	Complete bool               `json:"complete"`
}

// channels goes through the pages.
func (a *asker) channels(c *cobra.Command, match string, limit int) (channelList, error) {
	const longest = 1000 // a page of the API
	all := channelList{Channels: []hub.ChannelCount{}, Complete: true}
	for {
		size := longest
		if limit > 0 {
			size = min(longest, limit-len(all.Channels))
		}
		query := url.Values{"limit": {strconv.Itoa(size)}}
		if match != "" {
			query.Set("match", match)
		}
		if all.Next != "" {
			query.Set("cursor", all.Next)
		}
		var page channelList
		if _, err := a.get(c.Context(), &page, query, "channels"); err != nil {
			return all, err
		}
		all.Channels = append(all.Channels, page.Channels...)
		all.Next, all.Complete = page.Next, all.Complete && page.Complete
		if all.Next == "" || len(all.Channels) == limit {
			return all, nil
		}
	}
}

// moment is a time as it is shown: this machine's, to the second.
func moment(t time.Time) string { return t.Local().Format(time.DateTime) }

func listed(names []string) string {
	if len(names) == 0 {
		return "-"
	}
	return strings.Join(names, ", ")
}

func traffic(messages, bytes uint64) string {
	return count(messages, "message") + ", " + count(bytes, "byte")
}
