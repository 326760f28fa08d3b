package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/internal/nearest"
)

// UsageError is a command line that cannot be carried out; it says what to type
// instead.
type UsageError string

// Error implements error.
func (e UsageError) Error() string { return string(e) }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error { return UsageError(fmt.Sprintf(format, args...)) }

// NoArguments refuses arguments of a command that takes none.
func NoArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Usagef("unexpected argument %q%s", args[0], SeeHelp(c))
	}
	return nil
}

// SubcommandsOnly refuses arguments of a command that has commands below it.
func SubcommandsOnly(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return UnknownCommand(c, args[0])
	}
	return nil
}

// SeeHelp is the end of an error that points to the command's help.
func SeeHelp(c *cobra.Command) string { return fmt.Sprintf("; see %s --help", c.CommandPath()) }

// UnknownCommand says that a command has none of this name below it, and which was meant.
func UnknownCommand(of *cobra.Command, name string) error {
	var names []string
	for _, c := range of.Commands() {
		names = append(names, c.Name())
	}
	meant := nearest.Word(name, names)
	if of.HasParent() {
		name = of.Name() + " " + name
		if meant != "" {
			meant = of.Name() + " " + meant
		}
	}
	return Usagef("unknown command %q%s", name, DidYouMean(of, meant))
}

// DidYouMean is the end of an error that names what was meant, or the help if that is "".
func DidYouMean(c *cobra.Command, meant string) string {
	if meant == "" {
		return SeeHelp(c)
	}
	return fmt.Sprintf("; did you mean %s?", meant)
}
