package cli

import (
	"net"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/config"
)

// ConfigFlag adds --config to a command.
func ConfigFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "config", "", "configuration `FILE` (default ./pushcart.yaml, then ./config.yaml)")
	_ = c.MarkFlagFilename("config", "yaml", "yml") // for completion
}

// ConfigFile is the file that is named, else the one of this folder; "" where
// there is none.
func ConfigFile(named string) string {
	if named != "" {
		return named
	}
	for _, name := range []string{"pushcart.yaml", "config.yaml"} {
		if _, err := os.Stat(name); err == nil {
			return name
		}
	}
	return ""
}

// PushSection reads what a tool needs of the section push; file is as ConfigFlag has it.
// Problems of other keys do not count, nor files that only the sidecar's user can read.
func PushSection(file string) (config.Push, error) {
	cfg, err := config.Load(config.Source{File: ConfigFile(file), Env: os.LookupEnv, Only: []string{"push.listen", "push.tokens"}})
	return cfg.Push, err
}

// AdminSection is PushSection for the section admin: of the keys that are named.
func AdminSection(file string, keys ...string) (config.Admin, error) {
	cfg, err := config.Load(config.Source{File: ConfigFile(file), Env: os.LookupEnv, Only: keys})
	return cfg.Admin, err
}

// Reachable is where one that listens on every address can be asked.
func Reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// JSONFlag adds --json to a command that prints a list.
func JSONFlag(c *cobra.Command, on *bool) {
	c.Flags().BoolVar(on, "json", false, "print JSON")
}
