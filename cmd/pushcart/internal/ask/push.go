package ask

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/push"
)

// Push is pushcart push.
func (p *Commands) Push() *cobra.Command {
	var a asker
	var wait time.Duration
	var body push.ClientPush
	c := &cobra.Command{
		Use: "push [flags] DATA", Short: "send one push through the push API",
		Long:    "Send one push through the push API. DATA that is JSON is sent as JSON, else as text.",
		Example: "  pushcart push --user 42 'your order is on its way'\n  pushcart push --channel news --event created '{\"id\":1}'",
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return cli.Usagef("push wants the data: pushcart push --user U DATA")
			case len(args) > 1:
				return cli.Usagef("push wants one argument, the data, got %d; put it in quotes", len(args))
			case len(body.To.Users)+len(body.To.Channels)+len(body.To.Connections) == 0 && !body.To.All:
				return cli.Usagef("push needs a target: --user, --channel, --connection or --all")
			}
			return nil
		},
	}
	a.flags(c)
	f := c.Flags()
	f.StringArrayVar(&body.To.Users, "user", nil, "`ID` of a user; may be repeated")
	f.StringArrayVar(&body.To.Channels, "channel", nil, "`NAME` of a channel; may be repeated")
	f.StringArrayVar(&body.To.Connections, "connection", nil, "`ID` of a connection; may be repeated")
	f.BoolVar(&body.To.All, "all", false, "everybody")
	f.StringVar(&body.Event, "event", "", "event `NAME`")
	f.StringVar(&body.ID, "id", "", "idempotency `KEY`")
	f.DurationVar(&wait, "wait", 0, "how long to wait for the frames to be written, like 1s")
	c.RunE = func(c *cobra.Command, args []string) error {
		if data := args[0]; json.Valid([]byte(data)) {
			body.Data = json.RawMessage(data)
		} else {
			body.Text = &data
		}
		if wait != 0 {
			body.Wait = wait.String()
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		answer, err := client.Push(c.Context(), &body)
		if err != nil {
			return a.explain(err)
		}
		fmt.Fprintf(p.stdout, "%s\n", answer)
		return nil
	}
	return c
}
