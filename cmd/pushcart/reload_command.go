package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/admin"
	"github.com/pushcart/pushcart/config"
)

// reloadCommand is pushcart reload: SIGHUP for who knows no process id, with an
// answer.
func (p *process) reloadCommand() *cobra.Command {
	var file, address, token string
	var timeout time.Duration
	var asJSON bool
	c := &cobra.Command{
		Use: "reload", Short: "have the node read its configuration again", Args: noArguments,
		Long: "Have the configured node read its configuration file again, as SIGHUP does, and print what changed\n" +
			"and what needs a restart. Exit 2 if the new configuration is not good: the node goes on with the old one.",
		Example: "  pushcart check && pushcart reload",
	}
	configFlag(c, &file)
	c.Flags().StringVar(&address, "address", "", "`ADDRESS` of the admin listener, host:port, instead of admin.listen")
	c.Flags().StringVar(&token, "token", "", "admin `TOKEN`, instead of those of admin.tokens")
	c.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "how long to wait for its answer")
	jsonFlag(c, &asJSON)
	c.RunE = func(c *cobra.Command, _ []string) error {
		tokens := []config.Secret{config.Secret(token)}
		if address == "" || token == "" {
			cfg, err := settings(file, "admin.listen", "admin.tokens")
			if err != nil {
				return err
			}
			if address == "" {
				address = cfg.Admin.Listen
			}
			if token == "" && len(cfg.Admin.Tokens) > 0 {
				tokens = cfg.Admin.Tokens
			}
		}
		ctx, cancel := context.WithTimeout(c.Context(), timeout)
		defer cancel()
		body, err := askReload(ctx, address, tokens)
		if err != nil {
			return err
		}
		if asJSON {
			_, err := p.stdout.Write(body)
			return err
		}
		return printReloaded(p.stdout, body)
	}
	return c
}

// askReload asks with each token until one is taken: a file that changes the tokens
// may name the node's old ones too.
func askReload(ctx context.Context, address string, tokens []config.Secret) (body []byte, err error) {
	status := http.StatusUnauthorized
	for i := 0; i < len(tokens) && status == http.StatusUnauthorized; i++ {
		if status, body, err = postReload(ctx, address, tokens[i]); err != nil {
			return nil, fmt.Errorf("the node cannot be asked: %w", err)
		}
	}
	if status == http.StatusOK {
		return body, nil
	}
	var said admin.Problems
	if json.Unmarshal(body, &said) != nil || said.Error == nil {
		return nil, fmt.Errorf("not reloaded: %d: %s", status, strings.TrimSpace(string(body[:min(len(body), 200)])))
	}
	var problems config.Problems
	for _, one := range said.Problems {
		problems = append(problems, config.Problem{Where: one.Where, Path: one.Key, Message: one.Message})
	}
	switch {
	case len(problems) > 0:
		return nil, problems
	case status == http.StatusUnauthorized:
		return nil, fmt.Errorf("not reloaded: %s; give the one that the node was started with as --token, or send it SIGHUP", said.Error.Message)
	}
	return nil, fmt.Errorf("not reloaded: %s", said.Error.Message)
}

func postReload(ctx context.Context, address string, token config.Secret) (status int, body []byte, err error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+reachable(address)+"/reload", nil)
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+string(token))
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, body, err
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
