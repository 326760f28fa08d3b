package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/config"
)

// sourceFlags are those that say what is run.
type sourceFlags struct {
	file, listen, backend string
	anonymous             bool
}

func (s *sourceFlags) flags(c *cobra.Command) {
	cli.ConfigFlag(c, &s.file)
	c.Flags().StringVar(&s.listen, "listen", "", "public `ADDRESS`, instead of listen")
	c.Flags().StringVar(&s.backend, "backend", "", "the app's `URL`, instead of backend.url")
	c.Flags().BoolVar(&s.anonymous, "anonymous", false, "let connections without credentials in, like auth.anonymous")
}

// source is the file with the flags over it.
func (s *sourceFlags) source(c *cobra.Command) (config.Source, error) {
	source := config.Source{File: s.file, Env: os.LookupEnv}
	for _, of := range []config.Flag{{Name: "listen", Key: "listen"}, {Name: "backend", Key: "backend.url"}, {Name: "anonymous", Key: "auth.anonymous"}} {
		if f := c.Flags().Lookup(of.Name); f.Changed {
			source.Flags = append(source.Flags, config.Flag{Name: "--" + of.Name, Key: of.Key, Value: f.Value.String()})
		}
	}
	if found := cli.ConfigFile(s.file); s.backend == "" || found == "pushcart.yaml" {
		source.File = found // a config.yaml beside an app may be the app's
	}
	if source.File == "" && s.backend == "" {
		return source, cli.Usagef("there is no pushcart.yaml here; name the file with --config, or the app with --backend URL")
	}
	return source, nil
}

// runCommand is pushcart run, and pushcart alone.
func (p *process) runCommand() *cobra.Command {
	var s sourceFlags
	c := &cobra.Command{
		Use: "run", Short: "run the sidecar", Args: cli.NoArguments,
		Example: "  pushcart run --config pushcart.yaml\n  pushcart run --backend http://127.0.0.1:3000 --anonymous",
	}
	s.flags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		source, err := s.source(c)
		if err != nil {
			return err
		}
		cfg, err := config.Load(source)
		if err != nil {
			return err
		}
		n, err := p.newNode(c.Context(), cfg, source)
		if err != nil {
			return err
		}
		return n.run(c.Context(), p.signals)
	}
	return c
}

// checkCommand is pushcart check.
func (p *process) checkCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "check [FILE]", Short: "report every problem of a configuration",
		Example: "  pushcart check\n  pushcart check /etc/pushcart.yaml",
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return cli.Usagef("check takes one file, got %d%s", len(args), cli.SeeHelp(c))
			case len(args) == 1 && file != "":
				return cli.Usagef("name the file once: check %s", args[0])
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	cli.ConfigFlag(c, &file)
	c.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 1 {
			file = args[0]
		}
		if file = cli.ConfigFile(file); file == "" {
			return cli.Usagef("there is no pushcart.yaml here; name the file: pushcart check FILE")
		}
		if _, err := config.Load(config.Source{File: file, Env: os.LookupEnv}); err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "%s is good\n", file)
		return nil
	}
	return c
}
