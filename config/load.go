package config

import (
	"bytes"
	"errors"
	"io"
	"os"

	"gopkg.in/yaml.v3"

	"github.com/pushcart/pushcart/internal/files"
)

// Source is where a configuration comes from.
type Source struct {
	// File is the YAML file. Empty: the defaults.
	File string
	// Env is what ${NAME} is replaced from.
	Env Env
	// Flags are applied over the file, before anything is judged.
	Flags []Flag
	// Only, if any, are the keys that are wanted: problems elsewhere are not
	// reported, and files that other keys name may be unreadable.
	Only []string
}

// Flag is one command-line value for a key.
type Flag struct {
	// Name is how the flag is written, like "--backend".
	Name string
	// Key is what it sets, like "backend.url".
	Key string
	// Value is read as in YAML, but nothing in it is replaced.
	Value string
}

// Load reads and checks a configuration. It reports everything that is wrong as one
// Problems error.
func Load(s Source) (Config, error) {
	_, c, err := s.load()
	return c, err
}

// Parse is Load for data that was already read.
func Parse(data []byte, env Env) (Config, error) {
	_, c, err := Source{Env: env}.parse(data)
	return c, err
}

// load also returns the decoder, which knows where each value came from.
func (s Source) load() (*decoder, Config, error) {
	var data []byte
	if s.File != "" {
		var err error
		if data, err = os.ReadFile(s.File); err != nil {
			return nil, Config{}, Problems{{Where: s.File, Message: files.Reason(err).Error()}}
		}
	}
	return s.parse(data)
}

func (s Source) parse(data []byte) (*decoder, Config, error) {
	c := Default()
	d := &decoder{file: s.File, env: s.Env, at: map[string]place{}}
	d.document(data, &c)
	for _, f := range s.Flags {
		d.flag(f, &c)
	}
	d.decoded = c
	if !d.broken {
		c.finish(&d.problems)
	}
	d.locate()
	if s.Only != nil {
		d.problems = d.problems.about(s.Only)
	}
	if len(d.problems) > 0 {
		return nil, Config{}, d.problems
	}
	return d, c, nil
}

// Validate checks a configuration built in code. Its error is Problems.
func (c *Config) Validate() error {
	var problems Problems
	c.finish(&problems)
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// finish reads the files that the configuration names, and judges all of it.
func (c *Config) finish(p *Problems) {
	c.readSecretFiles(p)
	c.check(p)
	c.checkFiles(p)
}

// document decodes a file over the defaults.
func (d *decoder) document(data []byte, into *Config) {
	var doc yaml.Node
	in := yaml.NewDecoder(bytes.NewReader(data))
	switch err := in.Decode(&doc); {
	case errors.Is(err, io.EOF): // an empty file is all defaults
	case err != nil:
		d.problems, d.broken = append(d.problems, syntaxProblem(data, err)), true
	default:
		d.into(doc.Content[0], into)
		switch err := in.Decode(&yaml.Node{}); {
		case err == nil:
			d.problems.add("", "has a second YAML document after ---; want one")
		case !errors.Is(err, io.EOF):
			d.problems = append(d.problems, syntaxProblem(data, err))
		}
	}
}
