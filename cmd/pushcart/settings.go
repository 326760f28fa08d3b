package main

import (
	"os"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/config"
)

// settings reads what a tool needs of the configuration: problems of other keys
// must not stop it, nor files that only the sidecar's user can read.
func settings(file string, keys ...string) (config.Config, error) {
	return config.Load(config.Source{File: cli.ConfigFile(file), Env: os.LookupEnv, Only: keys})
}
