package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pushcart/pushcart/internal/nearest"
)

// usageError is a command line that cannot be carried out; it says what to type
// instead.
type usageError string

func (e usageError) Error() string { return string(e) }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// command builds the tree of commands for this process and carries one out.
func (p *process) command(ctx context.Context) error {
	root := p.rootCommand()
	started := false
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	err := root.ExecuteContext(ctx)
	if usage := usageError(""); err != nil && !started && !errors.As(err, &usage) {
		return usageError(err.Error()) // what cobra found out by itself
	}
	return err
}

const about = `pushcart puts push in front of an HTTP app that stays as it is.

Without a command it runs the sidecar, with ./pushcart.yaml or for --backend URL.`

func (p *process) rootCommand() *cobra.Command {
	root := p.runCommand()
	root.Use, root.Short, root.Long = "pushcart", "push for an HTTP app that stays as it is", about
	root.Example = `  pushcart demo
  pushcart --backend http://127.0.0.1:3000 --anonymous
  pushcart check && pushcart run`
	root.Args = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(c, args[0])
		}
		return nil
	}
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetArgs(p.args)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(p.flagError)
	root.PersistentFlags().Bool("version", false, "print the version")
	root.AddCommand(p.runCommand(), p.checkCommand(), p.demoCommand(), p.pushCommand(), p.tokenCommand(), p.healthCommand(), p.versionCommand())
	for _, c := range append(root.Commands(), root) {
		p.answerVersion(c)
	}
	return root
}

func (p *process) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print version, commit and Go version", Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintln(p.stdout, versionText())
			return nil
		},
	}
}

// answerVersion lets --version stand beside every command, whatever else is there.
func (p *process) answerVersion(c *cobra.Command) {
	asked := func() bool { v, _ := c.Flags().GetBool("version"); return v }
	args, run := c.Args, c.RunE
	c.Args = func(c *cobra.Command, given []string) error {
		if asked() {
			return nil
		}
		return args(c, given)
	}
	c.RunE = func(c *cobra.Command, given []string) error {
		if asked() {
			fmt.Fprintln(p.stdout, versionText())
			return nil
		}
		return run(c, given)
	}
}

func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q%s", args[0], seeHelp(c))
	}
	return nil
}

func seeHelp(c *cobra.Command) string { return fmt.Sprintf("; see %s --help", c.CommandPath()) }

func unknownCommand(root *cobra.Command, name string) error {
	var names []string
	for _, c := range root.Commands() {
		names = append(names, c.Name())
	}
	return usagef("unknown command %q%s", name, didYouMean(root, nearest.Word(name, names)))
}

func didYouMean(c *cobra.Command, meant string) string {
	if meant == "" {
		return seeHelp(c)
	}
	return fmt.Sprintf("; did you mean %s?", meant)
}

// flagError says which flag was meant by one that is not there.
func (p *process) flagError(c *cobra.Command, err error) error {
	if !c.HasParent() && !strings.HasPrefix(p.args[0], "-") {
		return unknownCommand(c, p.args[0]) // its flags are not known either
	}
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return usagef("--%s: want %s, got %q", invalid.GetFlag().Name, wantedValue(invalid.GetFlag()), invalid.GetValue())
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usagef("%v%s", err, seeHelp(c))
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	name := unknown.GetSpecifiedName()
	dashes := "--"
	if letters := unknown.GetSpecifiedShortnames(); letters != "" {
		name, dashes = letters, "-"
		for _, arg := range p.args {
			if strings.HasPrefix(arg, "-") && strings.HasSuffix(arg, letters) {
				name = arg[1:] // -help, of which the h was understood
			}
		}
		name, _, _ = strings.Cut(name, "=") // -config=FILE for --config
	}
	meant := nearest.Word(name, names)
	if meant != "" {
		meant = "--" + meant
	}
	return usagef("unknown flag %s%s%s", dashes, name, didYouMean(c, meant))
}

func wantedValue(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "true or false"
	case "duration":
		return "a duration like 10s or 500ms"
	}
	return "a " + f.Value.Type()
}
