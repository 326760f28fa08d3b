package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/pushcart/pushcart/config"
)

// flags returns a set that explains itself on stderr.
func (p *process) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(p.stderr)
	f.Usage = func() {
		fmt.Fprintf(p.stderr, "usage of pushcart %s:\n", name)
		f.PrintDefaults()
	}
	return f
}

func (p *process) parse(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		return errUsage
	} else if err != nil {
		return errUsage // the flag set said what is wrong
	}
	return nil
}

// run is pushcart run.
func (p *process) run(ctx context.Context, args []string) error {
	f := p.flags("run")
	file := f.String("config", "", "configuration `file`")
	listen := f.String("listen", "", "public `address`, instead of listen")
	backend := f.String("backend", "", "the app's `URL`, instead of backend.url")
	anonymous := f.Bool("anonymous", false, "let connections without credentials in, like auth.anonymous")
	if err := p.parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		fmt.Fprintf(p.stderr, "pushcart: unexpected argument %q\n", f.Arg(0))
		return errUsage
	}
	if *file == "" && *backend == "" {
		fmt.Fprint(p.stderr, "pushcart: --config or --backend is wanted\n\n"+usage)
		return errUsage
	}
	overrides := func(c *config.Config) {
		if *listen != "" {
			c.Listen = *listen
		}
		if *backend != "" {
			c.Backend.URL = *backend
		}
		c.Auth.Anonymous = c.Auth.Anonymous || *anonymous
	}
	cfg, err := load(*file, overrides)
	if err != nil {
		return err
	}
	log := newLog(p.stderr, cfg.Log)
	n, err := newNode(ctx, cfg, log)
	if err != nil {
		return err
	}
	return n.run(ctx, p.signals)
}

// load reads a file, or takes the defaults, and applies the command line before
// anything is judged.
func load(file string, overrides func(*config.Config)) (config.Config, error) {
	var data []byte
	if file != "" {
		var err error
		if data, err = os.ReadFile(file); err != nil {
			return config.Config{}, fmt.Errorf("read config: %w", err)
		}
	}
	return config.Parse(data, os.LookupEnv, overrides)
}

func newLog(w io.Writer, cfg config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.Level)) // was checked
	o := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// check is pushcart check.
func (p *process) check(args []string) error {
	f := p.flags("check")
	file := f.String("config", "", "configuration `file`")
	if err := p.parse(f, args); err != nil {
		return err
	}
	if *file == "" {
		fmt.Fprintln(p.stderr, "pushcart: check needs --config FILE")
		return errUsage
	}
	if _, err := load(*file, func(*config.Config) {}); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s is good\n", *file)
	return nil
}
