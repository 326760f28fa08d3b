package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pushcart/pushcart/internal/testdocs"
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
			t.Errorf("docs/cli.md describes %s, which is not a command", title)
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
	for _, c := range below(p.rootCommand()) {
		callsParse(t, c.CommandPath(), c.Example)
		if c.Example != "" && !strings.Contains(c.Example, "pushcart ") {
			t.Errorf("%s: its example does not call pushcart", c.CommandPath())
		}
	}
}

// So are those of every page, also where no test runs them.
func TestDocs_CallsParse(t *testing.T) {
	calls := 0
	for _, page := range testdocs.Pages(t) {
		for _, b := range page.Blocks {
			if b.Commands() {
				calls += callsParse(t, b.Where(), commandsIn(b))
			}
		}
		for _, span := range page.Code() {
			// The name of a command alone is no call.
			if strings.HasPrefix(span.Text, "pushcart ") && strings.Count(span.Text, " ") > 1 && !strings.ContainsAny(span.Text, "…[|") {
				calls += callsParse(t, fmt.Sprintf("%s:%d", page.Name, span.Line), span.Text)
			}
		}
	}
	if calls < 50 {
		t.Errorf("only %d calls found", calls)
	}
}

// commandsIn are what a block has to type, without comments and output.
func commandsIn(b testdocs.Block) string {
	var out strings.Builder
	for line := range strings.Lines(b.Text) {
		if command, ok := strings.CutPrefix(line, "$ "); ok || b.Language == "sh" {
			out.WriteString(regexp.MustCompile(`(^| +)#.*`).ReplaceAllString(command, ""))
		}
	}
	return out.String()
}

// callsParse holds each call of pushcart in a text to the commands and their flags, and
// says how many there are.
func callsParse(t *testing.T, where, text string) int {
	t.Helper()
	p := process{}
	quoted := regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s;]+`)
	calls := regexp.MustCompile(`(?:^|[\s/("$])pushcart ([a-z-][^\n&>)|]*)`).FindAllStringSubmatch(text, -1)
	for _, call := range calls {
		var words []string
		for _, word := range quoted.FindAllString(call[1], -1) {
			words = append(words, strings.Trim(word, `'"`))
		}
		found, rest, err := p.rootCommand().Find(words)
		if err == nil {
			err = found.ParseFlags(rest)
		}
		if errors.Is(err, pflag.ErrHelp) {
			continue
		}
		if err == nil {
			err = found.ValidateArgs(found.Flags().Args())
		}
		if err != nil {
			t.Errorf("%s: the call %q: %v", where, call[0], err)
		}
	}
	return len(calls)
}
