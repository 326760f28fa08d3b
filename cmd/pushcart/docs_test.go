package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestDocs_DescribeEveryCommandAndFlag holds docs/cli.md to the commands: each has its
// section, and in it each of its flags, and no other.
func TestDocs_DescribeEveryCommandAndFlag(t *testing.T) {
	page, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string][]string{}
	for section := range strings.SplitSeq(string(page), "\n## ") {
		title, text, _ := strings.Cut(section, "\n")
		var flags []string
		for _, cell := range regexp.MustCompile("(?m)^\\| (`--[^|]*) \\|").FindAllStringSubmatch(text, -1) {
			flags = append(flags, regexp.MustCompile("--[a-z-]+").FindAllString(cell[1], -1)...)
		}
		slices.Sort(flags)
		documented[title] = flags
	}
	p := process{}
	commands := below(p.rootCommand())
	for _, c := range commands {
		described, ok := documented[c.CommandPath()]
		if !ok {
			t.Errorf("docs/cli.md has no section %q", c.CommandPath())
			continue
		}
		var flags []string
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" {
				flags = append(flags, "--"+f.Name)
			}
		})
		slices.Sort(flags)
		if !slices.Equal(flags, described) {
			t.Errorf("%s takes\n%q, docs/cli.md has\n%q", c.CommandPath(), flags, described)
		}
	}
	for title := range documented {
		known := func(c *cobra.Command) bool { return c.CommandPath() == title }
		if strings.HasPrefix(title, "pushcart ") && !slices.ContainsFunc(commands, known) {
			t.Errorf("docs/cli.md describes %s, which is no command", title)
		}
	}
}

// below are all commands below one.
func below(c *cobra.Command) (out []*cobra.Command) {
	for _, one := range c.Commands() {
		out = append(append(out, one), below(one)...)
	}
	return out
}

// The examples of the help texts are calls that parse.
func TestDocs_ExamplesParse(t *testing.T) {
	p := process{}
	quoted := regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)
	for _, c := range below(p.rootCommand()) {
		for _, call := range regexp.MustCompile(`pushcart ([^\n&>)]*)`).FindAllStringSubmatch(c.Example, -1) {
			var words []string
			for _, word := range quoted.FindAllString(call[1], -1) {
				words = append(words, strings.Trim(word, `'"`))
			}
			found, rest, err := p.rootCommand().Find(words)
			if err == nil {
				err = found.ParseFlags(rest)
			}
			if err == nil {
				err = found.ValidateArgs(found.Flags().Args())
			}
			if err != nil {
				t.Errorf("%s: the example %q: %v", c.CommandPath(), call[0], err)
			}
		}
		if c.Example != "" && !strings.Contains(c.Example, "pushcart ") {
			t.Errorf("%s: its example is no call of pushcart", c.CommandPath())
		}
	}
}
