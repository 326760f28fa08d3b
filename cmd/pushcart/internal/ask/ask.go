package ask

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/push"
)

// asker is what the commands that ask the push API have in common.
type asker struct {
	file, address, token string
	json                 bool

	api *push.Client // made once
}

// flags adds --config, --address and --token.
func (a *asker) flags(c *cobra.Command) {
	cli.ConfigFlag(c, &a.file)
	c.Flags().StringVar(&a.address, "address", "", "`ADDRESS` of the push API, http://host:port or unix:/path, instead of push.listen")
	c.Flags().StringVar(&a.token, "token", "", "push `TOKEN`, instead of the first of push.tokens")
}

// client takes from the configuration what the command line leaves out.
func (a *asker) client() (_ *push.Client, err error) {
	if a.api != nil {
		return a.api, nil
	}
	if a.address == "" || a.token == "" {
		cfg, err := cli.PushSection(a.file)
		if err != nil {
			return nil, err
		}
		if a.address == "" {
			a.address = cfg.Listen
		}
		if a.token == "" && len(cfg.Tokens) > 0 {
			a.token = string(cfg.Tokens[0])
		}
	}
	if a.api, err = push.NewClient(cli.Reachable(a.address), a.token); err != nil {
		return nil, cli.UsageError(err.Error())
	}
	return a.api, nil
}

// get asks for one thing and reads the answer, which it also returns as it came.
func (a *asker) get(ctx context.Context, into any, query url.Values, segments ...string) ([]byte, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	answer, err := client.Get(ctx, query, segments...)
	if err != nil {
		return nil, a.explain(err)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return nil, fmt.Errorf("the answer of %s is not that of a push API; --address names another", a.address)
	}
	return answer, nil
}

// explain says what to do about an answer, or about none.
func (a *asker) explain(err error) error {
	var refused *push.Refused
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case !errors.As(err, &refused):
		return fmt.Errorf("no answer from the push API at %s: %w; is pushcart running there? --address names another", a.address, Cause(err))
	case refused.Status == http.StatusUnauthorized && a.token == "":
		return fmt.Errorf("%w; give --token, or --config with the file that has push.tokens", err)
	case refused.Status == http.StatusUnauthorized:
		return fmt.Errorf("%w; the token is not one of the node's push.tokens", err)
	case refused.Status == http.StatusNotFound && !slices.Contains(saidByAPI, refused.Message):
		return fmt.Errorf("%w; is %s a push API? --address names another", err, a.address)
	}
	return err
}

// How the API says so.
const (
	noSuchConnection = "no such connection"
	noSuchEvent      = "no such event in the outbox"
)

// saidByAPI are the 404s that only a push API answers.
var saidByAPI = []string{noSuchConnection, noSuchEvent, noPresence}

// Cause is the innermost reason why nothing came: without method, URL and addresses.
func Cause(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return err
}

// table prints rows of cells, the first of which is the head.
func table(out io.Writer, rows [][]string) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, cell)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
}

// count is a number of things.
func count[N int | uint64](n N, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// incomplete notes that a list may lack something.
func (p *Commands) incomplete(complete bool) {
	if !complete {
		fmt.Fprintln(p.stderr, "pushcart: a node did not answer within 1 s; what it has is missing here")
	}
}
