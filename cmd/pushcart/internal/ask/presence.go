package ask

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/push"
)

// noPresence is the API's answer for a channel of which it is not kept.
const noPresence = "presence is not enabled for this channel; see channels[].presence"

// memberList is what GET /v1/channels/{channel}/presence answers, page by page.
type memberList struct {
	Users []struct {
		UserID      string          `json:"user_id"`
		Connections int             `json:"connections"`
		Since       time.Time       `json:"since"`
		Info        json.RawMessage `json:"info,omitempty"`
	} `json:"users"`
	Total int    `json:"total"`
	Next  string `json:"next,omitempty"`
}

// presenceCommand is pushcart presence.
func (p *Commands) presenceCommand() *cobra.Command {
	var a asker
	var limit int
	c := &cobra.Command{
		Use: "presence CHANNEL", Short: "list the users that are subscribed to a channel", Example: "  pushcart presence chat.1",
		Long: "List the users that are subscribed to a channel on all nodes, in the order of their names. It needs presence: true in the rule of the channel.",
		Args: oneID("pushcart presence chat.1", "pushcart channels lists the channels"),
	}
	a.flags(c)
	cli.JSONFlag(c, &a.json)
	c.Flags().IntVar(&limit, "limit", 0, "at most `N` of them; 0: all")
	c.RunE = func(c *cobra.Command, args []string) error {
		if limit < 0 {
			return cli.Usagef("--limit must not be negative, got %d", limit)
		}
		list, err := a.members(c, args[0], limit)
		var refused *push.Refused
		if errors.As(err, &refused) && refused.Message == noPresence {
			return fmt.Errorf("presence is not enabled for %s: its rule in channels has no presence: true", args[0])
		}
		if err != nil {
			return err
		}
		if a.json {
			return json.NewEncoder(p.stdout).Encode(list)
		}
		rows := [][]string{{"USER", "CONNECTIONS", "SINCE", "INFO"}}
		for _, m := range list.Users {
			rows = append(rows, []string{m.UserID, strconv.Itoa(m.Connections), moment(m.Since), string(m.Info)})
		}
		if len(rows) == 1 {
			fmt.Fprintf(p.stdout, "no user is subscribed to %s\n", args[0])
			return nil
		}
		table(p.stdout, rows)
		return nil
	}
	return c
}

// members goes through the pages.
func (a *asker) members(c *cobra.Command, channel string, limit int) (all memberList, err error) {
	const longest = 1000 // a page of the API
	for {
		size := longest
		if limit > 0 {
			size = min(longest, limit-len(all.Users))
		}
		query := url.Values{"limit": {strconv.Itoa(size)}}
		if all.Next != "" {
			query.Set("cursor", all.Next)
		}
		var page memberList
		if _, err := a.get(c.Context(), &page, query, "channels", channel, "presence"); err != nil {
			return all, err
		}
		all.Users, all.Total, all.Next = append(all.Users, page.Users...), page.Total, page.Next
		if all.Next == "" || len(all.Users) == limit {
			return all, nil
		}
	}
}
