package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/internal/nearest"
)

var shells = []string{"bash", "zsh", "fish", "powershell"}

// completionCommand is pushcart completion.
func (p *process) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "completion SHELL", Short: "print a completion script for a shell",
		Long: `Print the script with which bash, zsh, fish or powershell completes commands, flags and their values.
For this shell only:

  source <(pushcart completion bash)
  source <(pushcart completion zsh)
  pushcart completion fish | source

For every new shell (bash needs its package bash-completion):

  pushcart completion bash > ~/.local/share/bash-completion/completions/pushcart
  pushcart completion zsh > "${fpath[1]}/_pushcart"
  pushcart completion fish > ~/.config/fish/completions/pushcart.fish`,
		Example: "  source <(pushcart completion bash)",
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return cli.Usagef("completion wants a shell: pushcart completion bash (or zsh, fish, powershell)")
			case len(args) > 1:
				return cli.Usagef("completion takes one shell, got %d%s", len(args), cli.SeeHelp(c))
			}
			return nil
		},
		ValidArgs: shells,
		RunE: func(c *cobra.Command, args []string) error {
			switch root := c.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(p.stdout, true)
			case "zsh":
				return root.GenZshCompletion(p.stdout)
			case "fish":
				return root.GenFishCompletion(p.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(p.stdout)
			}
			return cli.Usagef("unknown shell %q%s", args[0], cli.DidYouMean(c, nearest.Word(args[0], shells)))
		},
	}
}

// unquoteFlags takes the quotes out of the flags' texts, which mark their values for
// the help and would show in completions.
func unquoteFlags(c *cobra.Command) {
	c.Flags().VisitAll(func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") })
	for _, below := range c.Commands() {
		unquoteFlags(below)
	}
}
