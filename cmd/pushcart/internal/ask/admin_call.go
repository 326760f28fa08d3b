package ask

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/config"
)

// adminCall is what the commands that have a node do something have in common.
type adminCall struct {
	file, address, token string
	timeout              time.Duration // 0: as long as it takes
}

// flags adds --config, --address and --token.
func (a *adminCall) flags(c *cobra.Command) {
	cli.ConfigFlag(c, &a.file)
	c.Flags().StringVar(&a.address, "address", "", "`ADDRESS` of the admin listener, host:port, instead of admin.listen")
	c.Flags().StringVar(&a.token, "token", "", "admin `TOKEN`, instead of those of admin.tokens")
}

// post calls the admin listener with each token until one is taken: a file that
// changes the tokens may name the node's old ones too.
func (a *adminCall) post(ctx context.Context, path string) (status int, body []byte, err error) {
	tokens, err := a.complete()
	if err != nil {
		return 0, nil, err
	}
	if a.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.timeout)
		defer cancel()
	}
	status = http.StatusUnauthorized
	for i := 0; i < len(tokens) && status == http.StatusUnauthorized; i++ {
		if status, body, err = postAdmin(ctx, a.address, path, tokens[i]); err != nil {
			return 0, nil, fmt.Errorf("the node cannot be asked: %w", err)
		}
	}
	return status, body, nil
}

// complete takes from the configuration what the command line leaves out.
func (a *adminCall) complete() (tokens []config.Secret, err error) {
	tokens = []config.Secret{config.Secret(a.token)}
	if a.address != "" && a.token != "" {
		return tokens, nil
	}
	cfg, err := cli.AdminSection(a.file, "admin.listen", "admin.tokens")
	if err != nil {
		return nil, err
	}
	if a.address == "" {
		a.address = cfg.Listen
	}
	if a.token == "" && len(cfg.Tokens) > 0 {
		tokens = cfg.Tokens
	}
	return tokens, nil
}

func postAdmin(ctx context.Context, address, path string, token config.Secret) (status int, body []byte, err error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+cli.Reachable(address)+path, nil)
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
