package ask

import (
	"io"

	"github.com/spf13/cobra"
)

// Commands are those that ask a node.
type Commands struct {
	stdout, stderr io.Writer
	tools          func(...*cobra.Command) []*cobra.Command
}

// New returns the commands that ask a node. tools makes a signal end commands,
// and returns them.
func New(stdout, stderr io.Writer, tools func(...*cobra.Command) []*cobra.Command) *Commands {
	return &Commands{stdout: stdout, stderr: stderr, tools: tools}
}

// All are the commands that find out about a node, or have it do something.
func (p *Commands) All() []*cobra.Command {
	return []*cobra.Command{
		p.statusCommand(), p.usersCommand(), p.connectionsCommand(), p.channelsCommand(), p.presenceCommand(),
		p.outboxCommand(), p.reloadCommand(), p.drainCommand(), p.healthCommand(),
	}
}
