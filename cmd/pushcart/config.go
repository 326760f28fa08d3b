package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/config/schema"
	"github.com/pushcart/pushcart/internal/plainjson"
)

// configCommand is pushcart config.
func (p *process) configCommand() *cobra.Command {
	var s sourceFlags
	var asJSON, changed bool
	c := &cobra.Command{
		Use: "config", Short: "show the effective configuration, and where each value came from", Args: cli.SubcommandsOnly,
		Long: "Show the effective configuration as YAML; a comment says where each value came from. Secrets are hidden.\n" +
			"It takes the flags of pushcart run.",
		Example: "  pushcart config\n  pushcart config --changed\n  pushcart config schema > pushcart.schema.json",
	}
	s.flags(c)
	cli.JSONFlag(c, &asJSON)
	c.Flags().BoolVar(&changed, "changed", false, "only the values that are not defaults")
	c.RunE = func(c *cobra.Command, _ []string) error {
		source, err := s.source(c)
		if err != nil {
			return err
		}
		entries, err := config.Effective(source)
		if err != nil {
			return err
		}
		if changed {
			entries = slices.DeleteFunc(entries, func(e config.Entry) bool { return e.From == "default" })
		}
		if !asJSON {
			return printConfig(p.stdout, entries)
		}
		b, err := plainjson.Append(nil, entries)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "%s\n", b)
		return nil
	}
	c.AddCommand(p.schemaCommand())
	return c
}

// schemaCommand is pushcart config schema.
func (p *process) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "print the JSON Schema of the configuration, for editors", Args: cli.NoArguments,
		Long: "Print the JSON Schema (draft 2020-12) of the configuration. Editors complete and check a file that begins with\n" +
			"# yaml-language-server: $schema=pushcart.schema.json",
		Example: "  pushcart config schema > pushcart.schema.json",
		RunE: func(*cobra.Command, []string) error {
			b, err := schema.JSON()
			if err != nil {
				return err
			}
			_, err = p.stdout.Write(b)
			return err
		},
	}
}

// fromColumn is where comments begin, if a line is shorter.
const fromColumn = 40

// printConfig writes entries as YAML, each with its place as a comment.
func printConfig(out io.Writer, entries []config.Entry) error {
	var open []string // sections that the line before is in
	for _, e := range entries {
		path := strings.Split(e.Key, ".")
		sections, key := path[:len(path)-1], path[len(path)-1]
		common := 0
		for common < min(len(open), len(sections)) && open[common] == sections[common] {
			common++
		}
		for depth := common; depth < len(sections); depth++ {
			fmt.Fprintf(out, "%s%s:\n", strings.Repeat("  ", depth), sections[depth])
		}
		open = sections
		value, err := flow(e.Value)
		if err != nil {
			return fmt.Errorf("%s: %w", e.Key, err)
		}
		line := strings.Repeat("  ", len(sections)) + key + ": " + value
		if _, err := fmt.Fprintf(out, "%-*s # %s\n", fromColumn, line, e.From); err != nil {
			return err
		}
	}
	return nil
}

// flow is a value on one line of YAML.
func flow(v any) (string, error) {
	var n yaml.Node
	if err := n.Encode(v); err != nil {
		return "", err
	}
	n.Style |= yaml.FlowStyle
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "\n") {
		n.Style = yaml.DoubleQuotedStyle
	}
	b, err := yaml.Marshal(&n)
	return strings.Join(strings.Fields(string(b)), " "), err
}
