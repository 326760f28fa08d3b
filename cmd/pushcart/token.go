package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/config"
)

// signingKeys are what signToken needs.
var signingKeys = []string{
	"auth.jwt.secret", "auth.jwt.algorithms", "auth.jwt.issuer", "auth.jwt.audience", "auth.jwt.user_claim", "auth.jwt.channels_claim",
}

// tokenCommand is pushcart token.
func (p *process) tokenCommand() *cobra.Command {
	var file, user string
	var channels []string
	var ttl time.Duration
	c := &cobra.Command{
		Use: "token --user U", Short: "print a token signed with the configured secret",
		Long:    "Print a JWT signed with auth.jwt.secret, for development.",
		Example: "  pushcart token --user 42 --channel news --ttl 10m",
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) > 0:
				return cli.NoArguments(c, args)
			case user == "":
				return cli.Usagef("token needs --user%s", cli.SeeHelp(c))
			case ttl <= 0:
				return cli.Usagef("--ttl must be more than 0, got %v", ttl)
			}
			return nil
		},
	}
	cli.ConfigFlag(c, &file)
	c.Flags().StringVar(&user, "user", "", "`ID` of the user")
	c.Flags().StringArrayVar(&channels, "channel", nil, "`NAME` of a channel to subscribe to; may be repeated")
	c.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long it is valid")
	c.RunE = func(*cobra.Command, []string) error {
		cfg, err := settings(file, signingKeys...)
		if err != nil {
			return err
		}
		t, err := signToken(cfg.Auth.JWT, user, channels, ttl)
		if err != nil {
			return err
		}
		fmt.Fprintln(p.stdout, t)
		return nil
	}
	return c
}

var hashes = map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New}

// signToken makes a JWT with the first of the configured algorithms that takes a
// secret (RFC 7515 §3.1).
func signToken(cfg config.JWT, user string, channels []string, ttl time.Duration) (string, error) {
	if cfg.Secret == "" {
		return "", errors.New("token: auth.jwt.secret is not configured")
	}
	algorithm := "HS256"
	if len(cfg.Algorithms) > 0 {
		i := slices.IndexFunc(cfg.Algorithms, func(a string) bool { return hashes[a] != nil })
		if i < 0 {
			return "", fmt.Errorf("token: auth.jwt.algorithms has none that auth.jwt.secret can sign: %v", cfg.Algorithms)
		}
		algorithm = cfg.Algorithms[i]
	}
	now := time.Now()
	claims := map[string]any{cfg.UserClaim: user, "iat": now.Unix(), "exp": now.Add(ttl).Unix()}
	if len(channels) > 0 {
		claims[cfg.ChannelsClaim] = channels
	}
	if cfg.Issuer != "" {
		claims["iss"] = cfg.Issuer
	}
	if cfg.Audience != "" {
		claims["aud"] = cfg.Audience
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	enc := base64.RawURLEncoding
	t := enc.EncodeToString(fmt.Appendf(nil, `{"alg":%q,"typ":"JWT"}`, algorithm)) + "." + enc.EncodeToString(payload)
	mac := hmac.New(hashes[algorithm], []byte(cfg.Secret))
	mac.Write([]byte(t))
	return t + "." + enc.EncodeToString(mac.Sum(nil)), nil
}
