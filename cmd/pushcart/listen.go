package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/ask"
	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/cmd/pushcart/internal/listen"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/nearest"
	"github.com/pushcart/pushcart/protocol"
)

// listenFlags are those of pushcart listen.
type listenFlags struct {
	file, token, user, origin, protocol string
	channels, headers                   []string
	dial                                listen.Dial
	options                             listen.Options
}

var protocolChoices = []string{
	"raw\tmessages are shown and sent as they are", "json\tpushcart.json.v1: channels, recovery, requests and answers",
}

const listenAbout = `Open a WebSocket, print each message with its time, and send each line that is typed. Ctrl-C ends it.
URL is ws:// or wss:// (http:// and https:// mean the same), host:port, or a path of the configured node; without one it is
the node's own address and the first of websocket.paths.

Messages go to stdout, notes on the connection to stderr. Control characters are shown, not carried out, and
binary is shown as base64. At the end of a file or pipe it goes on listening, until --for or --count end it.

With --protocol json it speaks pushcart.json.v1: a line that begins with { is sent as a frame, any other as
{"type":"message","data":…} to the app, as JSON if it is JSON, else as a string. Anything but a message is marked by its type,
like [gap], [ok 1] and [error 1].`

// listenCommand is pushcart listen.
func (p *process) listenCommand() *cobra.Command {
	var l listenFlags
	c := &cobra.Command{
		Use: "listen [URL]", Short: "open a WebSocket: print messages, send typed lines", Long: listenAbout,
		Example: "  pushcart listen --user 42\n  pushcart listen wss://app.example.com/_push --token \"$TOKEN\"\n" +
			"  echo hello | pushcart listen --user 42 --count 1 --for 5s\n" +
			"  pushcart listen --protocol json --user 42 --channel news --subscribe chat.1",
		Args: l.check,
	}
	cli.ConfigFlag(c, &l.file)
	f := c.Flags()
	f.StringVar(&l.token, "token", "", "`TOKEN` (JWT) to come in with, where auth.jwt.sources says")
	f.StringVar(&l.user, "user", "", "come in as the user `ID`, with a token signed with auth.jwt.secret")
	f.StringArrayVar(&l.channels, "channel", nil, "with --user, `NAME` of a channel to subscribe to; may be repeated")
	f.StringArrayVar(&l.options.Subscribe, "subscribe", nil, "with --protocol json, `NAME` of a channel to subscribe to as a client does; may be repeated")
	f.StringArrayVar(&l.headers, "header", nil, "`'NAME: VALUE'` of the handshake, like 'Cookie: session=…'; may be repeated")
	f.StringVar(&l.origin, "origin", "", "`ORIGIN` header, as a page would send it")
	f.StringVar(&l.protocol, "protocol", listen.Protocols()[0], "`NAME` of the protocol: "+strings.Join(listen.Protocols(), ", "))
	f.BoolVar(&l.options.JSON, "json", false, "print one JSON object per line")
	f.BoolVar(&l.options.Binary, "binary", false, "send lines as binary messages")
	f.DurationVar(&l.options.For, "for", 0, "end after this time, like 5s")
	f.IntVar(&l.options.Count, "count", 0, "end after `N` messages")
	f.BoolVar(&l.dial.Insecure, "insecure", false, "do not verify the server's certificate")
	f.StringVar(&l.dial.Socket, "unix-socket", "", "connect to the socket `FILE` instead of the URL's host")
	_ = c.RegisterFlagCompletionFunc("protocol", cobra.FixedCompletions(protocolChoices, cobra.ShellCompDirectiveNoFileComp))
	_ = c.MarkFlagFilename("unix-socket")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := l.prepare(append(args, "")[0]); err != nil {
			return err
		}
		l.options.In, l.options.Out, l.options.Notes = p.stdin, p.stdout, p.stderr
		return l.explain(listen.Run(c.Context(), l.dial, l.options))
	}
	return c
}

// check judges the command line alone.
func (l *listenFlags) check(c *cobra.Command, args []string) error {
	names := listen.Protocols()
	switch {
	case len(args) > 1:
		return cli.Usagef("listen takes one URL, got %d%s", len(args), cli.SeeHelp(c))
	case l.token != "" && l.user != "":
		return cli.Usagef("--token and --user: give one of the two")
	case len(l.channels) > 0 && l.user == "":
		return cli.Usagef("--channel goes with --user; a token has its own, and --protocol json --subscribe asks for a channel")
	case !slices.Contains(names, l.protocol):
		return cli.Usagef("unknown protocol %q%s", l.protocol, cli.DidYouMean(c, nearest.Word(l.protocol, names)))
	case len(l.options.Subscribe) > 0 && !listen.Named(l.protocol).Frames():
		return cli.Usagef("--subscribe goes with --protocol json; on a raw connection --channel, with --user, subscribes")
	case l.options.Binary && listen.Named(l.protocol).Frames():
		return cli.Usagef("--binary does not go with --protocol json; data_base64 of a frame carries any bytes")
	case l.options.For < 0:
		return cli.Usagef("--for must not be negative, got %v", l.options.For)
	case l.options.Count < 0:
		return cli.Usagef("--count must not be negative, got %d", l.options.Count)
	}
	return nil
}

// tokenTime is how long a token of --user is valid: a day of trying out.
const tokenTime = 24 * time.Hour

// prepare makes the URL and headers of the handshake.
func (l *listenFlags) prepare(asked string) error {
	keys := []string{"listen", "websocket.paths", "auth.jwt.sources"}
	if l.user != "" {
		keys = append(keys, signingKeys...)
	}
	cfg, err := settings(l.file, keys...)
	if err != nil {
		return err
	}
	if l.dial.URL, err = socketURL(asked, cfg); err != nil {
		return err
	}
	l.dial.Protocol = listen.Named(l.protocol)
	if l.dial.Header, err = headers(l.headers); err != nil {
		return err
	}
	if l.origin != "" {
		l.dial.Header.Set("Origin", l.origin)
	}
	if l.user != "" {
		if l.token, err = signToken(cfg.Auth.JWT, l.user, l.channels, tokenTime); err != nil {
			return fmt.Errorf("%w; --user is for a node that has it, --token takes any token", err)
		}
	}
	if l.token != "" {
		l.carry(cfg.Auth.JWT.Sources)
	}
	return nil
}

// carry puts the token where the configuration says that tokens are.
func (l *listenFlags) carry(sources []string) {
	if len(sources) == 0 || slices.Contains(sources, "header") {
		l.dial.Header.Set("Authorization", "Bearer "+l.token)
		return
	}
	switch kind, name, _ := strings.Cut(sources[0], ":"); kind {
	case "query":
		l.dial.URL = withQuery(l.dial.URL, name, l.token)
	case "cookie":
		l.dial.Header.Add("Cookie", name+"="+l.token)
	case "protocol":
		l.dial.Header.Set("Sec-WebSocket-Protocol", "bearer."+l.token)
	}
}

// headers reads lines like "Cookie: a=b".
func headers(lines []string) (http.Header, error) {
	h := http.Header{}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		switch {
		case !ok || name == "" || strings.ContainsAny(line, "\r\n"):
			return nil, cli.Usagef("--header: want 'Name: value', got %q", config.Redact(line))
		case slices.Contains(ofTheHandshake, name):
			return nil, cli.Usagef("--header: %s is the handshake's own", name)
		}
		h.Add(name, strings.TrimSpace(value))
	}
	return h, nil
}

var ofTheHandshake = []string{"Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions"}

// explain says what an end means, and what to type instead where there is something.
func (l *listenFlags) explain(err error) error {
	var refused *listen.Refused
	var closed *listen.Closed
	var few *listen.TooFew
	var unspoken *listen.Unspoken
	switch {
	case errors.As(err, &refused):
		if hint := l.hint(refused); hint != "" {
			return fmt.Errorf("%w; %s", refused, hint)
		}
		return refused
	case errors.As(err, &closed):
		why, again := protocol.Meaning(closed.Code)
		text := closed.Error()
		if why != "" {
			text += fmt.Sprintf(": %s. Reconnect: %s", why, again)
		}
		if closed.Code == protocol.CodeNormal {
			_, err := fmt.Fprintln(l.options.Notes, text)
			return err
		}
		return errors.New(text)
	case errors.As(err, &few):
		return few
	case errors.As(err, &unspoken):
		return fmt.Errorf("%w; is %s one of websocket.paths? --protocol raw takes any", unspoken, l.dial.Where())
	case err != nil:
		return l.unreachable(err)
	}
	return nil
}

// hint is what to change about the command line after a refusal.
func (l *listenFlags) hint(r *listen.Refused) string {
	switch r.Status {
	case http.StatusUnauthorized:
		if l.token != "" {
			return "the token was refused; the node's log says why"
		}
		return "add --token or --user, or --header 'Cookie: …' where the app knows its users by a cookie"
	case http.StatusForbidden:
		if strings.Contains(r.Message, "Origin") {
			return "leave --origin out, or give one of websocket.allowed_origins"
		}
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return "it redirects; give that URL: " + r.Location
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if r.RetryAfter != "" {
			return "try again in " + r.RetryAfter + " s"
		}
	case http.StatusOK, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusBadGateway, http.StatusGatewayTimeout:
		return "is " + l.dial.Where() + " one of websocket.paths? Other paths are the app's"
	}
	return ""
}

// unreachable says what to do where there was no answer at all.
func (l *listenFlags) unreachable(err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "certificate"):
		return fmt.Errorf("%w; --insecure does not verify it", err)
	case strings.Contains(text, "first record does not look like a TLS handshake"):
		return fmt.Errorf("%s does not speak TLS; give the URL with ws://", l.dial.Where())
	case errors.Is(err, io.EOF), strings.Contains(text, "malformed HTTP response"):
		return fmt.Errorf("%s does not answer as HTTP does (%w); perhaps it wants wss://", l.dial.Where(), err)
	}
	return fmt.Errorf("%s: %w; is pushcart running there? pushcart listen URL names another", l.dial.Where(), ask.Cause(err))
}
