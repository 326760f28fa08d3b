package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/push"
)

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

// settings reads the configuration for a tool: the file that is named, else
// pushcart.yaml or config.yaml of this folder, else the defaults.
func settings(file string) (config.Config, error) {
	// What a tool does not need must not stop it.
	usable := func(c *config.Config) {
		if c.Backend.URL == "" {
			c.Backend.URL = "http://127.0.0.1"
		}
	}
	if file != "" {
		return load(file, usable)
	}
	for _, name := range []string{"pushcart.yaml", "config.yaml"} {
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			return load(name, usable)
		}
	}
	return load("", usable)
}

// push is pushcart push.
func (p *process) push(ctx context.Context, args []string) error {
	f := p.flags("push")
	file := f.String("config", "", "configuration `file` for address and token (default pushcart.yaml, then config.yaml)")
	address := f.String("address", "", "`address` of the push API, host:port or unix:/path, instead of push.listen")
	token := f.String("token", "", "push `token`, instead of the first of push.tokens")
	var body push.ClientPush
	f.Var((*list)(&body.To.Users), "user", "`id` of a user; may be repeated")
	f.Var((*list)(&body.To.Channels), "channel", "`name` of a channel; may be repeated")
	f.Var((*list)(&body.To.Connections), "connection", "`id` of a connection; may be repeated")
	f.BoolVar(&body.To.All, "all", false, "everybody")
	f.StringVar(&body.Event, "event", "", "event `name`")
	f.StringVar(&body.ID, "id", "", "idempotency `key`")
	f.StringVar(&body.Wait, "wait", "", "how long to wait for the frames to be written, like `1s`")
	if err := p.parse(f, args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		fmt.Fprintln(p.stderr, "pushcart: push wants one argument, the data")
		return errUsage
	}
	if len(body.To.Users)+len(body.To.Channels)+len(body.To.Connections) == 0 && !body.To.All {
		fmt.Fprintln(p.stderr, "pushcart: push needs a target: --user, --channel, --connection or --all")
		return errUsage
	}
	if data := f.Arg(0); json.Valid([]byte(data)) {
		body.Data = json.RawMessage(data)
	} else {
		body.Text = &data
	}
	if *address == "" || *token == "" {
		cfg, err := settings(*file)
		if err != nil {
			return err
		}
		if *address == "" {
			*address = cfg.Push.Listen
		}
		if *token == "" && len(cfg.Push.Tokens) > 0 {
			*token = string(cfg.Push.Tokens[0])
		}
	}
	answer, err := push.NewClient(*address, *token).Push(ctx, &body)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s\n", answer)
	return nil
}

// token is pushcart token.
func (p *process) token(args []string) error {
	f := p.flags("token")
	file := f.String("config", "", "configuration `file` with auth.jwt.secret (default pushcart.yaml, then config.yaml)")
	user := f.String("user", "", "user `id`")
	ttl := f.Duration("ttl", time.Hour, "how long it is valid")
	var channels list
	f.Var(&channels, "channel", "`name` of a channel to subscribe to; may be repeated")
	if err := p.parse(f, args); err != nil {
		return err
	}
	if *user == "" || *ttl <= 0 || f.NArg() > 0 {
		fmt.Fprintln(p.stderr, "pushcart: token needs --user, and a --ttl above 0")
		return errUsage
	}
	cfg, err := settings(*file)
	if err != nil {
		return err
	}
	if cfg.Auth.JWT.Secret == "" {
		return errors.New("token: auth.jwt.secret is not configured")
	}
	t, err := signToken(cfg.Auth.JWT, *user, channels, *ttl)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, t)
	return nil
}

// signToken makes a JWT with HS256 (RFC 7515 §3.1).
func signToken(cfg config.JWT, user string, channels []string, ttl time.Duration) (string, error) {
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
	t := enc.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc.EncodeToString(payload)
	mac := hmac.New(sha256.New, []byte(cfg.Secret))
	mac.Write([]byte(t))
	return t + "." + enc.EncodeToString(mac.Sum(nil)), nil
}
