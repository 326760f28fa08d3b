package access

import (
	"context"
	"sync"

	"github.com/pushcart/pushcart/internal/files"
	"github.com/pushcart/pushcart/internal/ratelog"
)

// Password is what connections authenticate with: that of a file as it is when a connection
// is made, so that who changes it restarts nothing.
type Password struct {
	key, file string
	log       *ratelog.Logger

	mu   sync.Mutex // guards last
	last string
}

// NewPassword returns the password text, or that in file, if there is one. key is where the
// configuration has text; that of file ends with _file.
func NewPassword(key, text, file string, log *ratelog.Logger) *Password {
	return &Password{key: key + "_file", file: file, log: log, last: text}
}

// Read returns the password. While the file cannot be read, or is empty, it is the last one.
func (p *Password) Read() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == "" {
		return p.last
	}
	text, err := files.Secret(p.file)
	if err != nil {
		p.log.Warn("file "+p.key, "a file for redis connections cannot be read; its last content is used", "key", p.key, "err", err.Error())
		return p.last
	}
	p.last = text
	return text
}

// For gives go-redis the credentials of a user, "" for the default one.
func (p *Password) For(user string) func(context.Context) (username, password string, err error) {
	return func(context.Context) (string, string, error) { return user, p.Read(), nil }
}
