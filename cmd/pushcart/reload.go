package main

import (
	"errors"

	"github.com/pushcart/pushcart/admin"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/apierror"
)

// Why a configuration is not read again.
var (
	errStopping = apierror.New(apierror.Unavailable, "the node is stopping")
	errNoFile   = apierror.New(apierror.Conflict,
		"there is no configuration file to read again: the node was started without one; start it with --config FILE")
)

// reload reads the configuration again. What may change while the process runs counts
// from then on for all that begins; where anything is wrong, nothing changes. Reloads
// come one after the other. Its errors are config.Problems and *apierror.Error.
func (n *node) reload() (admin.Reloaded, error) {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	r, err := n.readAgain()
	n.note(r, err)
	return admin.Reloaded{Changed: r.Changed, Restart: r.Restart}, err
}

func (n *node) readAgain() (config.Reload, error) {
	switch {
	case n.stopping:
		return config.Reload{}, errStopping
	case n.source.File == "":
		return config.Reload{}, errNoFile
	}
	next, err := config.Load(n.source)
	if err != nil {
		return config.Reload{}, err
	}
	r, err := n.live.cfg.Reload(next)
	if err != nil {
		return config.Reload{}, err
	}
	named := r.Config.ReadNamed()
	n.named.Compare(named, &r)
	if len(r.Changed) == 0 {
		return r, nil
	}
	l, err := n.prepare(r.Config, r.Changed)
	if err != nil { // what no check of a value finds, like a file that was just taken away
		return config.Reload{}, config.Problems{{Where: n.source.File, Message: err.Error()}}
	}
	n.apply(l)
	n.named = named
	return r, nil
}

// note counts and logs what came of a reload.
func (n *node) note(r config.Reload, err error) {
	m := n.metrics
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		m.Reloads.WithLabelValues("invalid").Inc()
		m.ReloadOK.Set(0)
		for _, p := range problems {
			n.log.Error("configuration not reloaded: the old one stays", "problem", config.Problems{p}.Error())
		}
	case err != nil:
		m.Reloads.WithLabelValues("refused").Inc()
		n.log.Warn("configuration not reloaded", "reason", err)
	default:
		m.Reloads.WithLabelValues("ok").Inc()
		m.ReloadOK.Set(1)
		m.ReloadTime.SetToCurrentTime()
		for _, c := range r.Changed {
			n.log.Info("configuration changed", "change", c.String())
		}
		for _, c := range r.Restart {
			n.log.Warn("configuration change needs a restart", "change", c.String())
		}
		n.log.Info("configuration reloaded", "changed", len(r.Changed), "restart", len(r.Restart))
		n.warn()
	}
}

// refuseReloads is for a node that stops: what it is made of is given up.
func (n *node) refuseReloads() {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	n.stopping = true
}
