package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"strings"
	"unicode"

	"github.com/pushcart/pushcart/internal/hostport"
)

// Push is the push API's listener (SPEC §6).
type Push struct {
	// Listen is host:port or unix:/path. Default 127.0.0.1:8081.
	Listen string `yaml:"listen"`
	// SocketMode are the permissions of a unix socket, in octal. Default "0660".
	SocketMode string `yaml:"socket_mode"`
	// SocketGroup is the group of a unix socket, a name or a number. Empty: the
	// process's own.
	SocketGroup string `yaml:"socket_group"`
	// Tokens, if any, are the bearer tokens of which a caller must send one.
	Tokens []Secret `yaml:"tokens"`
	// TokensFile holds one token a line, added to Tokens.
	TokensFile string `yaml:"tokens_file"`
	// Hosts are names that the Host header may be besides IP literals and
	// localhost.
	Hosts []string `yaml:"hosts"`
	// MaxBody bounds a request body. Default 1MiB.
	MaxBody Size `yaml:"max_body"`
}

// Mode is SocketMode as a number.
func (p Push) Mode() (fs.FileMode, error) {
	n, err := strconv.ParseUint(p.SocketMode, 8, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf(`want permissions in octal, like "0660", got %q`, p.SocketMode)
	}
	return fs.FileMode(n), nil
}

// Group is SocketGroup's number; -1 without one.
func (p Push) Group() (int, error) {
	if p.SocketGroup == "" {
		return -1, nil
	}
	if n, err := strconv.ParseUint(p.SocketGroup, 10, 31); err == nil {
		return int(n), nil
	}
	g, err := user.LookupGroup(p.SocketGroup)
	if err != nil {
		var unknown user.UnknownGroupError
		if errors.As(err, &unknown) {
			return 0, fmt.Errorf("this machine has no group %q", p.SocketGroup)
		}
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}

// check judges the listener.
func (p Push) check(problems *Problems) {
	if path, ok := strings.CutPrefix(p.Listen, "unix:"); ok {
		if path == "" {
			problems.add("push.listen", "unix: without a path")
		}
	} else if checkAddress(problems, "push.listen", p.Listen) && len(p.Tokens) == 0 && !hostport.Loopback(p.Listen) && !problems.unread("push.tokens") {
		problems.add("push.listen", "%q is neither loopback nor a unix socket; set push.tokens to open it", p.Listen)
	}
	if _, err := p.Mode(); err != nil {
		problems.add("push.socket_mode", "%v", err)
	}
	if _, err := p.Group(); err != nil {
		problems.add("push.socket_group", "%v", err)
	}
	checkTokens(problems, "push.tokens", p.Tokens)
	positive(problems, "push.max_body", int64(p.MaxBody))
}

func checkTokens(p *Problems, path string, tokens []Secret) {
	for i, t := range tokens {
		switch {
		case t == "":
			p.add(item(path, i), "must not be empty")
		case strings.TrimSpace(string(t)) != string(t), strings.ContainsFunc(string(t), unicode.IsControl):
			p.add(item(path, i), "has a line break or white space around it, which no Authorization header carries")
		}
	}
}
