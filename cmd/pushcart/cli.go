package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/ask"
	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/internal/nearest"
)

// command builds the tree of commands for this process and carries one out.
func (p *process) command(ctx context.Context) error {
	root := p.rootCommand()
	if len(p.args) > 0 && strings.HasPrefix(p.args[0], cobra.ShellCompRequestCmd) {
		unquoteFlags(root)
	}
	started := false
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	err := root.ExecuteContext(ctx)
	if usage := cli.UsageError(""); err != nil && !started && !errors.As(err, &usage) {
		return cli.UsageError(err.Error()) // what cobra found out by itself
	}
	return err
}

const about = `pushcart adds push to an HTTP app without changing the app.

Without a command it runs the sidecar, with ./pushcart.yaml or for --backend URL.`

func (p *process) rootCommand() *cobra.Command {
	root := p.runCommand()
	root.Use, root.Short, root.Long = "pushcart", "push for an unchanged HTTP app", about
	root.Example = `  pushcart demo
  pushcart --backend http://127.0.0.1:3000 --anonymous
  pushcart check && pushcart run`
	root.Args = cli.SubcommandsOnly
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetArgs(p.args)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(p.flagError)
	root.PersistentFlags().Bool("version", false, "print the version")
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	p.addCommands(root)
	p.answerVersion(root)
	return root
}

// addCommands puts them into groups: those that run a node, that ask one, and that
// play its client or its app.
func (p *process) addCommands(root *cobra.Command) {
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run it:"}, &cobra.Group{ID: "ask", Title: "Query a running node:"},
		&cobra.Group{ID: "try", Title: "Try it out:"}, &cobra.Group{ID: "rest", Title: "Other:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	asking := ask.New(p.stdout, p.stderr, p.tools)
	add("run", p.runCommand(), p.checkCommand(), p.configCommand())
	add("ask", p.tools(asking.All()...)...)
	add("try", append(p.tools(p.listenCommand(), asking.Push(), p.tokenCommand()), p.demoCommand())...)
	add("rest", p.completionCommand(), p.versionCommand())
	root.SetHelpCommand(helpCommand())
	root.InitDefaultHelpCmd()
}

// helpCommand is pushcart help, which also answers mistakes.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "help for a command", GroupID: "rest", Args: cobra.ArbitraryArgs,
		ValidArgsFunction: func(c *cobra.Command, _ []string, begun string) (names []string, _ cobra.ShellCompDirective) {
			for _, known := range c.Root().Commands() {
				if !known.Hidden && strings.HasPrefix(known.Name(), begun) {
					names = append(names, known.Name()+"\t"+known.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			of, rest := c.Root(), args
			for len(rest) > 0 {
				i := slices.IndexFunc(of.Commands(), func(below *cobra.Command) bool { return below.Name() == rest[0] })
				if i < 0 {
					return cli.UnknownCommand(of, rest[0])
				}
				of, rest = of.Commands()[i], rest[1:]
			}
			return of.Help()
		},
	}
}

// tools are commands that a signal ends.
func (p *process) tools(commands ...*cobra.Command) []*cobra.Command {
	for _, c := range commands {
		p.endWithSignal(c)
	}
	return commands
}

// endWithSignal ends a tool's context with the first signal: it holds nothing that has
// to be ended in order, as a node does.
func (p *process) endWithSignal(c *cobra.Command) {
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		ctx, cancel := context.WithCancel(c.Context())
		var waits sync.WaitGroup
		waits.Go(func() {
			select {
			case <-p.signals:
				cancel()
			case <-ctx.Done():
			}
		})
		defer waits.Wait()
		defer cancel()
		c.SetContext(ctx)
		err := run(c, args)
		if err != nil && ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return err
	}
}

func (p *process) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print version, commit and Go version", Args: cli.NoArguments,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintln(p.stdout, versionText())
			return nil
		},
	}
}

// answerVersion lets --version stand beside c and every command below it, whatever
// else is there.
func (p *process) answerVersion(c *cobra.Command) {
	for _, below := range c.Commands() {
		p.answerVersion(below)
	}
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

// flagError says which flag was meant by one that is not there.
func (p *process) flagError(c *cobra.Command, err error) error {
	if !c.HasParent() && !strings.HasPrefix(p.args[0], "-") {
		return cli.UnknownCommand(c, p.args[0]) // its flags are not known either
	}
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return cli.Usagef("--%s: want %s, got %q", invalid.GetFlag().Name, wantedValue(invalid.GetFlag()), invalid.GetValue())
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return cli.Usagef("%v%s", err, cli.SeeHelp(c))
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
	return cli.Usagef("unknown flag %s%s%s", dashes, name, cli.DidYouMean(c, meant))
}

func wantedValue(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "true or false"
	case "duration":
		return "a duration like 10s or 500ms"
	case "int":
		return "a whole number"
	}
	return "a " + f.Value.Type()
}
