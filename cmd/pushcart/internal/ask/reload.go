package ask

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/admin"
	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/config"
)

// reloadCommand is pushcart reload: SIGHUP for who knows no process id, with an
// answer.
func (p *Commands) reloadCommand() *cobra.Command {
	var call adminCall
	var asJSON bool
	c := &cobra.Command{
		Use: "reload", Short: "make the node read its configuration again", Args: cli.NoArguments,
		Long: "Make the configured node read its configuration file again, as SIGHUP does, and print what changed\n" +
			"and what needs a restart. Exit 2 if the new configuration is invalid: the node keeps the old one.",
		Example: "  pushcart check && pushcart reload",
	}
	call.flags(c)
	c.Flags().DurationVar(&call.timeout, "timeout", 10*time.Second, "how long to wait for its answer")
	cli.JSONFlag(c, &asJSON)
	c.RunE = func(c *cobra.Command, _ []string) error {
		status, body, err := call.post(c.Context(), "/reload")
		if err != nil {
			return err
		}
		if status != http.StatusOK {
			return notReloaded(status, body)
		}
		if asJSON {
			_, err := p.stdout.Write(body)
			return err
		}
		return printReloaded(p.stdout, body)
	}
	return c
}

// notReloaded is the error in an answer that is none of success.
func notReloaded(status int, body []byte) error {
	var said admin.Problems
	if json.Unmarshal(body, &said) != nil || said.Error == nil {
		return fmt.Errorf("not reloaded: %d: %s", status, strings.TrimSpace(string(body[:min(len(body), 200)])))
	}
	var problems config.Problems
	for _, one := range said.Problems {
		problems = append(problems, config.Problem{Where: one.Where, Path: one.Key, Message: one.Message})
	}
	switch {
	case len(problems) > 0:
		return problems
	case status == http.StatusUnauthorized:
		return fmt.Errorf("not reloaded: %s; give the one that the node was started with as --token, or send it SIGHUP", said.Error.Message)
	}
	return fmt.Errorf("not reloaded: %s", said.Error.Message)
}

func printReloaded(w io.Writer, body []byte) error {
	var done admin.Reloaded
	if err := json.Unmarshal(body, &done); err != nil {
		return fmt.Errorf("the node's answer cannot be read: %w", err)
	}
	for _, c := range done.Changed {
		fmt.Fprintln(w, c)
	}
	for _, c := range done.Restart {
		fmt.Fprintln(w, c, "(needs a restart)")
	}
	if len(done.Changed)+len(done.Restart) == 0 {
		fmt.Fprintln(w, "nothing changed")
	}
	return nil
}
