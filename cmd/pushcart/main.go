// Command pushcart is the sidecar: see README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/pushcart/pushcart/config"
)

// Set by the linker (make build).
var (
	version = "dev"
	commit  = "unknown"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2 // bad configuration or command line
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	p := process{args: os.Args[1:], stdout: os.Stdout, stderr: os.Stderr, signals: signals}
	os.Exit(p.main(context.Background()))
}

// process is one run of the command. Nothing of it is global, so that tests run
// several in one process.
type process struct {
	args           []string
	stdout, stderr io.Writer
	signals        <-chan os.Signal
}

// errUsage is a command line that was answered with an explanation already.
var errUsage = errors.New("usage")

// main returns the exit code.
func (p *process) main(ctx context.Context) int {
	err := p.command(ctx)
	var problems config.Problems
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.As(err, &problems):
		fmt.Fprintln(p.stderr, problems.Error())
		return exitUsage
	}
	fmt.Fprintln(p.stderr, "pushcart:", err)
	return exitFailure
}

const usage = `pushcart puts push in front of an HTTP app that stays as it is.

  pushcart [run] [--config FILE] [--listen ADDR] [--backend URL] [--anonymous]
                       run the sidecar; without --config it needs --backend
  pushcart check --config FILE
                       say everything that is wrong with a configuration
  pushcart demo        the sidecar, an example app and a page, all in one
  pushcart push [--user U] [--channel C] [--connection ID] [--all] DATA
                       send one push through the push API
  pushcart token --user U [--channel C]... [--ttl D]
                       print a token signed with the configured secret
  pushcart version
`

func (p *process) command(ctx context.Context) error {
	name, args := "run", p.args
	if len(args) > 0 && (!strings.HasPrefix(args[0], "-") || args[0] == "-h" || args[0] == "--help") {
		name, args = args[0], args[1:]
	}
	switch name {
	case "run":
		return p.run(ctx, args)
	case "check":
		return p.check(args)
	case "demo":
		return p.demo(ctx, args)
	case "push":
		return p.push(ctx, args)
	case "token":
		return p.token(args)
	case "version":
		fmt.Fprintf(p.stdout, "pushcart %s (%s) %s\n", version, commit, runtime.Version())
		return nil
	case "help", "-h", "--help":
		fmt.Fprint(p.stdout, usage)
		return nil
	}
	fmt.Fprintf(p.stderr, "pushcart: unknown command %q\n\n%s", name, usage)
	return errUsage
}
