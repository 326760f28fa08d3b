package ask

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/admin"
	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
)

// drainCommand is pushcart drain: the first half of SIGTERM, for a hook that runs while
// the app still lives.
func (p *Commands) drainCommand() *cobra.Command {
	var call adminCall
	c := &cobra.Command{
		Use: "drain", Short: "take the node out of service: its WebSockets move to other nodes", Args: cli.NoArguments,
		Long: "Take the configured node out of service, and wait until that is done: readiness turns 503, after shutdown.delay\n" +
			"new handshakes are refused, and WebSockets are closed with 1012 over shutdown.drain. Plain HTTP goes on, and the\n" +
			"process stays until it gets SIGTERM, which finds little to do. Only a restart puts the node back into service.",
		Example: "  pushcart drain && kill -TERM \"$(pidof pushcart)\"",
	}
	call.flags(c)
	c.Flags().DurationVar(&call.timeout, "timeout", 0, "how long to wait; 0: as long as it takes")
	c.RunE = func(c *cobra.Command, _ []string) error {
		status, body, err := call.post(c.Context(), "/drain")
		if err != nil {
			return err
		}
		var done admin.Drained
		if status != http.StatusOK {
			return fmt.Errorf("not drained: %d: %s", status, body[:min(len(body), 200)])
		}
		if err := json.Unmarshal(body, &done); err != nil {
			return fmt.Errorf("the node's answer cannot be read: %w", err)
		}
		fmt.Fprintf(p.stdout, "drained, %d connections left\n", done.Connections)
		return nil
	}
	return c
}
