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
	"syscall"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/logwriter"
	"github.com/pushcart/pushcart/internal/memlimit"
	"github.com/pushcart/pushcart/internal/sdnotify"
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
	signal.Ignore(syscall.SIGPIPE) // a write to a closed stderr would end the process
	memlimit.Apply()
	p := process{args: os.Args[1:], stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, signals: signals}
	p.supervisor = sdnotify.New(os.Getenv("NOTIFY_SOCKET"))
	os.Exit(p.main(context.Background()))
}

// process is one run of the command. Nothing of it is global, so that tests run
// several in one process.
type process struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
	signals        <-chan os.Signal
	lines          *logwriter.Writer // what stderr is behind main
	supervisor     *sdnotify.Socket
}

// main returns the exit code.
func (p *process) main(ctx context.Context) int {
	p.lines = logwriter.New(p.stderr)
	p.stderr = p.lines
	defer p.lines.Close(lastWords)
	err := p.command(ctx)
	var problems config.Problems
	var usage cli.UsageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &problems):
		fmt.Fprintln(p.stderr, problems.Error())
		return exitUsage
	case errors.As(err, &usage):
		fmt.Fprintln(p.stderr, "pushcart:", usage)
		return exitUsage
	}
	fmt.Fprintln(p.stderr, "pushcart:", err)
	return exitFailure
}

func versionText() string {
	return fmt.Sprintf("pushcart %s (%s) %s", version, commit, runtime.Version())
}
