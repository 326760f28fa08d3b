package ask

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
)

// healthCommand is pushcart health: for containers, which have no shell to ask in.
func (p *Commands) healthCommand() *cobra.Command {
	var file, address string
	var timeout time.Duration
	c := &cobra.Command{
		Use: "health", Short: "exit 0 if the node is ready, else 1", Args: cli.NoArguments,
		Long: "Ask the admin listener of the configured node whether it is ready: exit 0 if so, else 1.",
	}
	cli.ConfigFlag(c, &file)
	c.Flags().StringVar(&address, "address", "", "`ADDRESS` of the admin listener, host:port, instead of admin.listen")
	c.Flags().DurationVar(&timeout, "timeout", 2*time.Second, "how long to wait for its answer")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if address == "" {
			cfg, err := cli.AdminSection(file, "admin.listen")
			if err != nil {
				return err
			}
			address = cfg.Listen
		}
		ctx, cancel := context.WithTimeout(c.Context(), timeout)
		defer cancel()
		if err := ready(ctx, address); err != nil {
			return fmt.Errorf("not ready: %w", err)
		}
		fmt.Fprintln(p.stdout, "ready")
		return nil
	}
	return c
}

// ready asks /readyz.
func ready(ctx context.Context, address string) error {
	resp, err := getAdmin(ctx, cli.Reachable(address), "/readyz")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	return errors.New(resp.Status + " " + string(said))
}

// getAdmin asks an admin listener; the caller closes the body.
func getAdmin(ctx context.Context, address, path string) (*http.Response, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}
