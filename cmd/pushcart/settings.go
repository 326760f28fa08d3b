package main

import (
	"net"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/config"
)

// configFlag adds --config to a command.
func configFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "config", "", "configuration `FILE` (default ./pushcart.yaml, then ./config.yaml)")
	_ = c.MarkFlagFilename("config", "yaml", "yml") // for completion
}

// configFile is the file that is named, else the one of this folder; "" where
// there is none.
func configFile(named string) string {
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

// settings reads what a tool needs of the configuration: problems of other keys
// must not stop it, nor files that only the sidecar's user can read.
func settings(file string, keys ...string) (config.Config, error) {
	return config.Load(config.Source{File: configFile(file), Env: os.LookupEnv, Only: keys})
}

// reachable is where one that listens on every address can be asked.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
